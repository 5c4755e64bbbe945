// Package extproc is the Envoy external processing (ext_proc) conversation that
// the body router and the endpoint picker share.
//
// A server is three parts:
//
//   - a Processor, written by the server: it looks at one request and decides;
//   - a Conversation (conversation.go): pure protocol state, one message in,
//     messages out. It knows Envoy's body modes and the order of answers, so
//     that no Processor can get them wrong;
//   - a Server (server.go, stream.go): sockets, limits, health, drain.
//
// Start reading at Processor, then Conversation.Receive.
//
// # Body modes
//
// The mode comes from protocol_config in the first message:
//
//   - BUFFERED: the headers are answered with the Decision of Headers, then the
//     one body message with the Decision of End. No body is sent back.
//   - FULL_DUPLEX_STREAMED, and gateways that send no protocol_config: nothing
//     is answered until the request is known in full; then the headers with the
//     Decision of End, then the received bytes unchanged, then the trailers.
//   - STREAMED: headers leave before the body is seen; the Decision of Headers
//     counts, that of End can only add metadata or reject.
//   - any mode, where Headers returns a Final Decision: the headers are answered
//     at once and the body passes as it comes.
//   - NONE, and requests without a body: the headers are answered with the
//     Decision of End.
//
// # Limits
//
// A body may have Options.MaxBodyBytes (413 above); all bodies together draw on
// one byte budget, reserved at the headers from content-length, else the limit
// (503 when it is empty). A body must arrive in Options.BodyTimeout, in full
// duplex with no pause above Options.BodyIdleTimeout (408).
//
// # Drain
//
// When Run's context ends: readiness turns NOT_SERVING, requests are still
// served for Options.DrainWindow and on while new ones come, then streams that
// owe the gateway nothing are closed with OK, which leaves running responses
// untouched, and the rest get Options.DrainTimeout to finish. A stream is never closed with OK while its
// request is unanswered: Envoy would let that request pass undecided.
//
// Source: envoy/service/ext_proc/v3/external_processor.proto and
// envoy/extensions/filters/http/ext_proc/v3/processing_mode.proto.
package extproc
