// Package rewrite decides which model serves a request, the weights of LoRA
// rollouts, and how important it is. Start reading at Table.Match, Rule.Draw and
// Table.Priority, which are pure; objects.go reads InferenceModel,
// InferenceModelRewrite and InferenceObjective into rules, watch.go follows them in
// the cluster.
//
// What is decided here:
//
//   - An exact rule beats a generic one (a rule without matches, which is about
//     every model, and about requests that name none). Among rules for the same
//     name the oldest object wins, of one age the one whose kind and name sort
//     first; inside an object the first.
//   - Each request draws anew, in exact proportion to the integer weights. With no
//     weight set all targets are equal; with some set, those without get nothing.
//     An InferenceModel without targets serves its own name.
//   - A target keeps its share when no ready Pod has it loaded, as an error: the
//     requests that fall on it are answered with 503 and their own reason, as
//     Gateway API answers 500 for the share of a backendRef that is not valid.
//     Moving the share to the other targets would carry a canary above the share
//     that its gate approved. Who has what loaded is the picker's knowledge; a
//     Pod that has not just said so is taken to have everything.
//   - An InferenceObjective that a request names gives its priority; else its
//     model's InferenceModel does: 1 when Critical, -1 when Sheddable; else it is 0,
//     and so it is for an objective that does not exist.
//   - An InferenceModelRewrite or InferenceObjective must name the pool's own group. An InferenceModel
//     may name either group of InferencePool: its API is older than v1, and
//     defaults to the old group.
//
// Whether a rewrite's list is called split or targets is told by the CRD's schema,
// through the object: the API server prunes what the schema does not have. An
// object with both is refused.
//
// Sources: api/v1alpha2/inferencemodel_types.go of gateway-api-inference-extension
// v0.5.1, apix/v1alpha2/inferencemodelrewrite_types.go of v1.2.0 (split), v1.5.0
// (targets) and llm-d-router v0.9.0, inferenceobjective_types.go of v1.5.0.
package rewrite
