package simulate

import "time"

// Shapes are the kinds of traffic of the A/A proof.
func Shapes() []Shape {
	base := Shape{Rate: 8, Stable: 3, Canary: 3, Errors: 0.004}
	with := func(name string, change func(*Shape)) Shape {
		s := base
		s.Name = name
		change(&s)
		return s
	}
	return []Shape{
		with("steady", func(*Shape) {}),
		with("pod stalls", func(s *Shape) { s.PodStall = Stall{20 * time.Second, time.Second} }),
		with("fleet stalls", func(s *Shape) { s.FleetStall = Stall{30 * time.Second, time.Second} }),
		with("bursts", func(s *Shape) {
			s.BurstEvery, s.BurstSize = 20*time.Second, 30
			s.PodStall = Stall{40 * time.Second, time.Second}
		}),
		with("drift ± 50 %, stalls", func(s *Shape) { s.Drift, s.PodStall = 0.5, Stall{30 * time.Second, time.Second} }),
		with("clumped errors", func(s *Shape) { s.Reset = 90 * time.Second }),
		with("low traffic, stalls", func(s *Shape) { s.Rate, s.PodStall = 1.5, Stall{20 * time.Second, time.Second} }),
		with("one stable pod", func(s *Shape) { s.Stable, s.Canary, s.PodStall = 1, 1, Stall{20 * time.Second, time.Second} }),
		with("at the limit, steady", func(s *Shape) { s.AtLimit, s.Errors = true, 0.01 }),
		with("at the limit, pod stalls", func(s *Shape) {
			s.AtLimit, s.Errors, s.PodStall = true, 0.01, Stall{15 * time.Second, time.Second}
		}),
		with("at the limit, fleet stalls, bursts, clumped errors", func(s *Shape) {
			s.AtLimit, s.FleetStall, s.Reset = true, Stall{20 * time.Second, time.Second}, 60*time.Second
			s.BurstEvery, s.BurstSize = 30*time.Second, 30
		}),
	}
}
