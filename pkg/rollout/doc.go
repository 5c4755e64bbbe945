// Package rollout is what a progressive rollout is: a Plan, the Record of how
// far it came, a pure transition function and a small loop. It imports no
// Kubernetes; targets, journals, evidence, clocks and reporters are interfaces
// declared here and supplied by others.
//
// Start at Next, which alone decides what happens, then read Run, which only
// carries its actions out. The promise both keep: if the process dies, traffic
// stays at a share the last gate approved, or lower.
//
// The order of writes makes that true. A raise is recorded (ceiling and goal)
// before the target moves; a rollback is recorded before the first weight
// falls; a target is only "at" a goal once it was read back. Ceiling rises
// only in the write that follows a passed gate, and never while RollingBack.
//
// Transitions lists every change of phase there is; in short:
//
//	Ready ──▶ Raising ──▶ Settling ──▶ Baking ──▶ Raising (next step) … ──▶ Promoted
//	              │            │          │
//	              └────────────┴──────────┴──▶ RollingBack ──▶ RolledBack
package rollout
