package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"time"
)

// Undecided says how a JUnit file shows what could not be judged.
type Undecided string

// As skipped a pipeline goes on, as an error it stops.
const (
	UndecidedSkipped Undecided = "skipped"
	UndecidedError   Undecided = "error"
)

type suites struct {
	XMLName xml.Name `xml:"testsuites"`
	Suites  []suite  `xml:"testsuite"`
}

type suite struct {
	Name      string  `xml:"name,attr"`
	Tests     int     `xml:"tests,attr"`
	Failures  int     `xml:"failures,attr"`
	Errors    int     `xml:"errors,attr"`
	Skipped   int     `xml:"skipped,attr"`
	Time      string  `xml:"time,attr"`
	Timestamp string  `xml:"timestamp,attr"`
	Cases     []tcase `xml:"testcase"`
}

type tcase struct {
	Class   string `xml:"classname,attr"`
	Name    string `xml:"name,attr"`
	Time    string `xml:"time,attr"`
	Failure *said  `xml:"failure"`
	Error   *said  `xml:"error"`
	Skipped *said  `xml:"skipped"`
}

type said struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes r as one suite: a case for every gate of every step, and
// one for the rollout as a whole, which fails when it did not reach its end.
// The shape is the one that CI systems read, testsuites of testsuite of
// testcase.
func WriteJUnit(out io.Writer, r Result, undecided Undecided) error {
	name := r.Namespace + "/" + r.Target
	s := suite{
		Name:      fmt.Sprintf("canary %s: %s → %s", name, r.Stable, r.Canary),
		Time:      seconds(r.Finished.Sub(r.Started)),
		Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05"),
	}
	for _, step := range r.Steps {
		s.Cases = append(s.Cases, stepCases(name, step, undecided)...)
	}
	s.Cases = append(s.Cases, whole(name, r, undecided))
	for _, c := range s.Cases {
		s.Tests++
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
	if _, err := io.WriteString(out, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(out)
	encoder.Indent("", "  ")
	if err := encoder.Encode(suites{Suites: []suite{s}}); err != nil {
		return err
	}
	_, err := io.WriteString(out, "\n")
	return err
}

// stepCases are the gates of one step. Of a step that failed, the gates whose
// evidence crossed failed, and the others were not judged to their end.
func stepCases(class string, step Step, undecided Undecided) []tcase {
	var cases []tcase
	for _, g := range step.Gates {
		c := tcase{Class: class, Name: fmt.Sprintf("%d%%: %s", step.Asked, g.Gate), Time: seconds(step.StepResult.Took)}
		switch {
		case crossed(g):
			c.Failure = &said{Message: g.Gate + " was broken", Text: observed(g)}
		case step.Verdict != "Pass":
			c.undecided(undecided, "not judged to the end: "+observed(g))
		}
		cases = append(cases, c)
	}
	return cases
}

// whole is the case of the rollout itself.
func whole(class string, r Result, undecided Undecided) tcase {
	c := tcase{Class: class, Name: "rollout", Time: seconds(r.Finished.Sub(r.Started))}
	text := fmt.Sprintf("exit code %d; traffic stays at %d%% or lower", r.ExitCode, r.Ceiling)
	switch r.ExitCode {
	case 0:
	case 10:
		c.Failure = &said{Message: r.Reason, Text: text}
	case 11, 17:
		c.undecided(undecided, r.Reason+": "+text)
	default:
		c.Error = &said{Message: r.Reason, Text: text}
	}
	return c
}

func (c *tcase) undecided(as Undecided, text string) {
	if as == UndecidedError {
		c.Error = &said{Message: text}
		return
	}
	c.Skipped = &said{Message: text}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
