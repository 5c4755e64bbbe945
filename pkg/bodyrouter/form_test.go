package bodyrouter

import (
	"bytes"
	"errors"
	"mime/multipart"
	"strings"
	"testing"
)

// scanForm is to forms what scan is to JSON; the boundary is "b".
func scanForm(slices ...string) string {
	f, err := newForm("multipart/form-data; boundary=b")
	for i := 0; err == nil && i < len(slices); i++ {
		err = f.Scan([]byte(slices[i]))
	}
	if err == nil {
		err = f.End()
	}
	var invalid *Invalid
	if errors.As(err, &invalid) {
		return "!" + invalid.Reason
	}
	return f.Model()
}

const file = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;b=\\\"c.wav\"\r\nContent-Type: audio/wav\r\n\r\n" +
	"RIFF\r\n--\r\n--a\r\r\n-\x00\xff\r\n"

func field(name, value string) string {
	return "--b\r\nContent-Disposition: form-data; name=" + name + "\r\n\r\n" + value + "\r\n"
}

func formCases() map[string]struct{ body, want string } {
	return map[string]struct{ body, want string }{
		"the field model is found after a file":       {file + field(`"model"`, "whisper-1") + "--b--\r\n", "whisper-1"},
		"the field model is found before a file":      {field(`"model"`, "whisper-1") + file + "--b--", "whisper-1"},
		"a form without model has none":               {file + "--b--\r\n", ""},
		"an unquoted name":                            {field("model", "m") + "--b--\r\n", "m"},
		"a nested multipart is content":               {file + "--b\r\nContent-Disposition: form-data; name=\"x\"\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nevil\r\n--c--\r\n" + "--b--\r\n", ""},
		"E29 model twice":                             {field(`"model"`, "a") + field(`"model"`, "a") + "--b--\r\n", "!model_duplicate"},
		"E29 a file named model":                      {"--b\r\nContent-Disposition: form-data; name=\"model\"; filename=\"x\"\r\n\r\na\r\n--b--\r\n", "!model_not_string"},
		"E29 a model with a transfer encoding":        {"--b\r\nContent-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--b--\r\n", "!model_not_string"},
		"E29 two content dispositions":                {"--b\r\nContent-Disposition: form-data; name=\"x\"\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\na\r\n--b--\r\n", "!form_syntax"},
		"E29 two names":                               {field(`"x"; name="model"`, "a") + "--b--\r\n", "!form_syntax"},
		"E29 a name in extended notation":             {field(`"x"; name*=utf-8''model`, "a") + "--b--\r\n", "!form_syntax"},
		"E29 an escape in the name":                   {field(`"mod\el"`, "a") + "--b--\r\n", "!form_syntax"},
		"E29 text after a boundary":                   {field(`"x"`, "a\r\n--bc\r\n") + "--b--\r\n", "!form_syntax"},
		"E29 white space after a boundary":            {"--b \r\nContent-Disposition: form-data; name=\"model\"\r\n\r\na\r\n--b--\r\n", "!form_syntax"},
		"E29 a preamble":                              {"x\r\n" + field(`"model"`, "a") + "--b--\r\n", "!form_syntax"},
		"E29 an epilogue":                             {field(`"model"`, "a") + "--b--\r\n" + field(`"model"`, "b"), "!form_syntax"},
		"E29 bare line feeds":                         {"--b\nContent-Disposition: form-data; name=\"model\"\n\na\n--b--\n", "!form_syntax"},
		"E29 a folded header line":                    {"--b\r\nContent-Disposition: form-data;\r\n name=\"model\"\r\n\r\na\r\n--b--\r\n", "!form_syntax"},
		"E29 a boundary right after a part's header":  {"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n--b\r\nContent-Disposition: form-data; name=model\r\n\r\nm\r\n--b--", "!form_syntax"},
		"E29 a control character in a part's header":  {"--b\r\nContent-Disposition: form-data; name=model\r\nX: a\x01b\r\n\r\nm\r\n--b--", "!form_syntax"},
		"a model that begins as a boundary does":      {field("model", "--m") + "--b--", "--m"},
		"a part without a header":                     {"--b\r\n\r\na\r\n--b--\r\n", "!form_syntax"},
		"a part without a name":                       {"--b\r\nContent-Disposition: form-data\r\n\r\na\r\n--b--\r\n", "!form_syntax"},
		"a part that is no form data":                 {"--b\r\nContent-Disposition: attachment; name=\"model\"\r\n\r\na\r\n--b--\r\n", "!form_syntax"},
		"a quote that never ends":                     {field(`"model`, "a") + "--b--\r\n", "!form_syntax"},
		"a header that never ends":                    {"--b\r\nX: " + strings.Repeat("x", 5000), "!form_syntax"},
		"a form that never ends":                      {field(`"model"`, "a"), "!form_syntax"},
		"half a line after the end":                   {field(`"model"`, "a") + "--b--\r", "!form_syntax"},
		"too many parts":                              {strings.Repeat(field("x", ""), 1001), "!form_syntax"},
		"an empty body":                               {"", "!form_syntax"},
		"an empty model":                              {field("model", "") + "--b--", "!model_name"},
		"a line break in the model":                   {field("model", "a\r\nb") + "--b--", "!model_name"},
		"a model that is not visible ASCII":           {field("model", "mod\u00e8le") + "--b--", "!model_name"},
		"a model of 254 bytes":                        {field("model", strings.Repeat("m", 254)) + "--b--", "!model_name"},
		"content that looks like a delimiter at last": {field("x", "a\r\r\n--\r\n--") + field("model", "m") + "--b--", "m"},
	}
}

func TestForm(t *testing.T) {
	t.Parallel()
	for name, tt := range formCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := scanForm(tt.body); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			for cut := range min(len(tt.body), 400) {
				if got := scanForm(tt.body[:cut], tt.body[cut:]); got != tt.want {
					t.Fatalf("cut at %d: got %q, want %q", cut, got, tt.want)
				}
			}
		})
	}
}

func TestFormReadsWhatGoWrites(t *testing.T) {
	t.Parallel()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	upload, err := w.CreateFormFile("file", `speech "1".mp3`)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = upload.Write(bytes.Repeat([]byte("\r\n--\x00"), 10_000))
	_ = w.WriteField("model", "whisper-large")
	_ = w.Close()
	f, err := newForm(w.FormDataContentType())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Scan(body.Bytes()), f.End()); err != nil || f.Model() != "whisper-large" {
		t.Errorf("got %q, %v", f.Model(), err)
	}
}

func TestFormBoundary(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		contentType string
		ok          bool
	}{
		"a quoted boundary":               {`multipart/form-data; boundary="a b+c"`, false},
		"a browser's boundary":            {"multipart/form-data; boundary=----WebKitFormBoundary7MA4", true},
		"no boundary":                     {"multipart/form-data", false},
		"two boundaries":                  {"multipart/form-data; boundary=a; boundary=b", false},
		"a boundary in extended notation": {"multipart/form-data; boundary*=utf-8''a", false},
		"a boundary of 71 bytes":          {"multipart/form-data; boundary=" + strings.Repeat("x", 71), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := newForm(tt.contentType); (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzForm(f *testing.F) {
	for _, tt := range formCases() {
		f.Add(tt.body, uint(len(tt.body)/2))
	}
	f.Fuzz(func(t *testing.T, body string, cut uint) {
		at := cut % uint(len(body)+1)
		whole, halves := scanForm(body), scanForm(body[:at], body[at:])
		if whole != halves {
			t.Fatalf("whole %q, cut at %d %q", whole, at, halves)
		}
		if strings.HasPrefix(whole, "!") || whole == "" {
			return
		}
		// What we route on, Go's parser must see as the one field.
		read, err := multipart.NewReader(strings.NewReader(body), "b").ReadForm(1 << 20)
		if err != nil || len(read.Value["model"]) != 1 || read.Value["model"][0] != whole {
			t.Fatalf("we see %q, mime/multipart %+v, %v", whole, read, err)
		}
	})
}
