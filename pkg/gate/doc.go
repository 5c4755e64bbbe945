// Package gate decides from counts whether a canary is worse than allowed, and
// stays right however often it is asked. It is pure: counts and times come in,
// verdicts go out; it reads no clock and no cluster.
//
// Start with Parse (the language), Expr.Bind (what the exported buckets can
// show), Board (a whole run) and CheckHealth (a dead canary). Threshold, Ratio,
// QuantileInterval and Share are the tests beneath and can be used alone. Streak
// is what a promql gate goes by, which has no error bound, and Expr.Apart the
// leave-one-out that explains an alarm.
//
// # Why e-processes
//
// A canary is looked at after every scrape. Comparing an estimate with a limit
// that often finds a bad moment sooner or later: healthy canaries are rolled
// back. An e-process E starts at 1, is never negative, and its mean never grows
// while the hypothesis "the canary is within its limit" holds. By Ville's
// inequality such a process reaches 1/α, at any time whatever, with probability
// at most α. So rolling back when E ≥ 1/α errs with probability at most α, at
// any number of looks, and evidence may be cut into windows and stopped at will.
//
// # The tests
//
// All are mixtures of likelihood ratios over five alternatives with weights
// w_k, and one formula serves all of them. Let ρ be an odds ratio, p0 the
// boundary of the hypothesis, s the successes among n trials. The likelihood
// ratio of odds ρ·p0/(1−p0) against p0 is exp T, with
//
//	T(ρ, p0, s, n) = s·ln ρ − n·ln(1 + (ρ−1)·p0)
//
// (A) Threshold, one sample. Hypothesis: P(bad) ≤ p0. With n requests of which s
// were bad,
//
//	E = Σ w_k · exp(T(ρ_k, p0, s, n) / φ),  ρ_k > 1
//
// which is Σ w_k (p_k/p0)^s ((1−p_k)/(1−p0))^(n−s) for φ = 1. Each term's mean
// factor is at most 1 for every P(bad) ≤ p0, so the hypothesis is covered whole
// and exactly. The totals are sufficient: merging pods or windows changes
// nothing, not even the last bit. A latency gate "pQ < limit" counts requests
// slower than a bucket edge and has p0 = 1 − Q; an error gate has p0 = limit.
//
// (B) Ratio, two samples. Hypothesis: the canary's rate is at most r0 times
// stable's. In a window with n_c and n_s requests and X_c and X_s bad ones,
// given r, a bad request is the canary's with probability
// θ(r) = r·n_c/(r·n_c + n_s), and
//
//	E = Σ w_k · Π_windows exp(T(ρ_k, θ(r0), X_c, X_c+X_s) / φ),  r_k = ρ_k·r0
//
// which is (θ(r_k)/θ(r0))^X_c · ((1−θ(r_k))/(1−θ(r0)))^X_s in each window.
// With base rate p_s and true ratio r its mean factor is at most
// exp(p_s·(θ(r_k)−θ(r0))·(r0·n_c+n_s)·(r/r0−1)) ≤ 1 for r ≤ r0, since
// 1+x ≤ eˣ. So it holds for common events as for rare ones, while the base
// rate drifts and while the weights change. It follows Lindon and Malek (the
// conditional law of two counts) and Turner and Grünwald (e-values of 2×2
// tables, multiplied over strata).
//
// (C) is (A) or (B) with ρ_k < 1 and the hypothesis turned round: evidence that
// the canary is better than a limit, for promoting early.
//
// (D) QuantileInterval, a confidence sequence for a quantile on bucket edges,
// for reports. The requests at or below the true q-quantile are a sequence of
// coin tosses with probability q, and the two-sided beta-binomial mixture
// martingale of Howard et al. bounds how far they stray. Counts at an edge below
// the quantile are at most those at the quantile, counts above at least, so all
// edges are covered by that one martingale. Its prior is Beta(3/(1−q), 3/q).
//
// Share is the mean of (A) and its mirror on requests started, with a tolerance:
// does the canary get the share of the traffic that was written? It also sees a
// gateway that ignores weights.
//
// # The grid
//
// ρ = 1.4, 1.9, 3, 6, 30 with weights 1/16, 7/16, 5/16, 1/8, 1/16; (C) uses the
// reciprocals. Three quarters of the weight sit where they decide the usual
// cases: for p0 = 5 %, twice and three times the bad requests are odds ratios of
// 2.1 and 3.4, and the runs in which twice as many take longest to see are those
// that show a little less. 1.4 finds a slow creep, and nothing below about a sixth
// above p0 is ever found, which is meant: a limit is not missed by a hair. 6
// and 30 catch a canary that fails outright within a handful of requests. Flat
// weights and up to nine points take up to 10 % more requests for twice as
// many bad ones and differ by less for the rest. The weights are dyadic, so that a
// test without data is exactly 1.
//
// Measured with this grid, looks every 10 requests, α = 0.01, canary requests
// median (90th percentile): at p0 = 5 %, three times 70 (150), twice 230 (510);
// at p0 = 1 %, three times 380 (800), twice 1,180 (2,590). As one of three gates
// in a plan of four steps, p0 = 5 %: three times 110 (190), twice 340 (680), and
// little more after healthy steps. A canary exactly at its limit alarms in 0.5 to
// 0.6 % of runs of 250 looks; three gates at their limits over four steps in none
// of 500 runs. The tests hold these figures; go test -v -run
// 'Detection|FalseAlarms' prints them.
//
// # A run
//
// A run-long process would be blind to late harm, since healthy requests count
// against it. So every gate starts fresh at every step, and the run's e-value is
// the equally weighted mean over planned steps and gates, steps not entered
// counting as 1: a mean of e-processes is one, and α is spent once for the run.
// Entering a step again (a resumed run) goes on with its processes.
//
// Two kinds of gates are composed. "errors < 1.2x stable or < 0.5%" holds when either
// part does, so its evidence is the smaller of (B) and (A). "pQ < k× stable"
// fixes a bucket edge from stable's quantile when the step starts; while
// stable's own requests are evidence of 10 to 1 against p0 at that edge, both
// arms have slowed, and the gate neither adds evidence nor passes. Where stable
// has far less traffic than the canary its evidence can come too late: such
// steps are judged by absolute gates.
//
// Requests that fail in clumps carry less evidence than their number says. φ ≥ 1,
// fixed before a step (StepPhi), is the exponent 1/φ of its factors; by Jensen's
// inequality the bound holds for every φ, and for clumps of up to φ.
//
// # Sources
//
//   - Ville's inequality: J. Ville, Étude critique de la notion de collectif, 1939.
//   - (A), (D): Howard, Ramdas, McAuliffe, Sekhon, Time-uniform, nonparametric,
//     nonasymptotic confidence sequences, 2021, arXiv 1810.08240.
//   - (D): Howard, Ramdas, Sequential estimation of quantiles with applications
//     to A/B testing and best-arm identification, 2022, arXiv 1906.09712.
//   - (B), Share: Lindon, Malek, Anytime-valid inference for multinomial count
//     data, 2022, arXiv 2011.03567.
//   - (B): Turner, Grünwald, Safe sequential testing and effect estimation in
//     stratified count data, 2023, arXiv 2302.11401.
package gate
