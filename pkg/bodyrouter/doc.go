// Package bodyrouter lifts the model name out of an OpenAI-style request body
// into the header X-Gateway-Model-Name, so that HTTPRoutes can match it.
//
// Start reading at Handler, which decides about one request at a time; Scanner
// finds the name in JSON, form.go in multipart forms. The conversation with the
// gateway is package extproc's, the program is bodyrouter/server.
//
// What is done with a request, always after removing every routing header that
// the client sent:
//
//	no body, or an upgrade       passes
//	JSON                         the top-level string "model" is the name
//	multipart/form-data          the form field "model" is the name
//	no content type              is taken for JSON, as model servers do
//	other content types          pass
//	JSON or form, but encoded    415
//	a body two readers could disagree about    400, see Scanner
//	no name in JSON or a form    --missing-model: pass, or 400
//
// A JSON body of no bytes counts as none. The body itself is never changed.
package bodyrouter
