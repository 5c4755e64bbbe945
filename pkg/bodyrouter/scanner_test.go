package bodyrouter

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
)

// scan runs a fresh scanner over the slices and returns the model, or the
// reason it was refused for after "!".
func scan(slices ...string) string {
	s := NewScanner(1024)
	var err error
	for _, slice := range slices {
		if err = s.Scan([]byte(slice)); err != nil {
			break
		}
	}
	if err == nil {
		err = s.End()
	}
	var invalid *Invalid
	if errors.As(err, &invalid) {
		return "!" + invalid.Reason
	}
	return s.Model()
}

// scannerCases are rules; rows that begin with E are those of the failure
// catalogue of the ext_proc servers.
func scannerCases() map[string]scannerCase {
	cases := grammarCases()
	maps.Copy(cases, catalogueCases())
	return cases
}

type scannerCase struct{ body, want string }

// catalogueCases are the rows of the failure catalogue.
func catalogueCases() map[string]scannerCase {
	return map[string]scannerCase{
		"E20 model twice":                      {`{"model":"a","model":"a"}`, "!model_duplicate"},
		"E21 model twice, once by escapes":     {`{"model":"a","\u006dode\u006C":"b"}`, "!model_duplicate"},
		"E21 an escaped key counts":            {`{"\u006dodel":"a"}`, "a"},
		"E22 a nested model does not count":    {`{"x":{"model":"a"},"y":[{"model":"b"}]}`, ""},
		"E22 the top level is an array":        {`[{"model":"a"}]`, "!json_not_object"},
		"E22 the top level is a string":        {`"model"`, "!json_not_object"},
		"E22 the top level is a number":        {`1`, "!json_not_object"},
		"E23 model is null":                    {`{"model":null}`, "!model_not_string"},
		"E23 model is a number":                {`{"model":70000000}`, "!model_not_string"},
		"E23 model is a bool":                  {`{"model":true}`, "!model_not_string"},
		"E23 model is an object":               {`{"model":{"x":1}}`, "!model_not_string"},
		"E23 model is an array":                {`{"model":["x"]}`, "!model_not_string"},
		"E24 invalid UTF-8 in a prompt":        {"{\"p\":\"\xff\"}", "!json_utf8"},
		"E24 invalid UTF-8 in the model":       {"{\"model\":\"\xc3(\"}", "!json_utf8"},
		"E24 overlong UTF-8":                   {"{\"p\":\"\xc0\xaf\"}", "!json_utf8"},
		"E24 a surrogate in UTF-8":             {"{\"p\":\"\xed\xa0\x80\"}", "!json_utf8"},
		"E24 UTF-8 above U+10FFFF":             {"{\"p\":\"\xf4\x90\x80\x80\"}", "!json_utf8"},
		"E24 UTF-8 cut by the quote":           {"{\"p\":\"\xe4\xb8\"}", "!json_utf8"},
		"E24 UTF-8 of every length passes":     {`{"p":"é世𝄞","model":"a"}`, "a"},
		"E24 a lone surrogate in a prompt":     {`{"p":"\ud83d","model":"a"}`, "a"},
		"E24 a lone surrogate in a key":        {`{"\ud83d":1}`, "!json_surrogate"},
		"E24 a lone surrogate in a nested key": {`{"x":[{"a\ud83d\n":1}]}`, "!json_surrogate"},
		"E24 a lone low surrogate in a key":    {`{"\ude00":1}`, "!json_surrogate"},
		"E24 a lone surrogate in the model":    {`{"model":"a\ud83d"}`, "!json_surrogate"},
		"E24 two high surrogates in a key":     {`{"\ud83d\ud83d\ude00":1}`, "!json_surrogate"},
		"E24 a surrogate pair in a key":        {`{"\ud83d\ude00":1,"model":"a"}`, "a"},
		"E25 a byte order mark":                {"\xef\xbb\xbf{}", "!json_not_object"},
		"E25 NaN":                              {`{"x":NaN}`, "!json_syntax"},
		"E25 a second document":                {`{"model":"a"}{"model":"b"}`, "!json_syntax"},
		"E25 a trailing NUL":                   {"{}\x00", "!json_syntax"},
		"E26 nesting at the bound":             {`{"x":` + strings.Repeat("[", 127) + strings.Repeat("]", 127) + `}`, ""},
		"E26 nesting over the bound":           {`{"x":` + strings.Repeat("[", 128), "!json_depth"},
		"E26 nesting of objects":               {strings.Repeat(`{"x":`, 129), "!json_depth"},
		"E27 a case variant is another key":    {`{"Model":"a","MODEL":"b"}`, ""},
		"E40 CR and LF by escapes":             {`{"model":"a\u000d\u000ax-y: z"}`, "!model_name"},
		"E40 NUL by an escape":                 {`{"model":"a\u0000"}`, "!model_name"},
		"E40 a bare newline":                   {"{\"model\":\"a\n\"}", "!json_syntax"},
		"E41 a space in the model":             {`{"model":"a b"}`, "!model_name"},
		"E41 DEL in the model":                 {"{\"model\":\"a\x7f\"}", "!model_name"},
		"E41 a model that is not ASCII":        {`{"model":"modèle"}`, "!model_name"},
		"E41 not ASCII by an escape":           {`{"model":"\u00e8"}`, "!model_name"},
		"E41 not ASCII by a surrogate pair":    {`{"model":"\ud83d\ude00"}`, "!model_name"},
		"E41 an empty model":                   {`{"model":""}`, "!model_name"},
		"E41 a model of 253 bytes":             {`{"model":"` + strings.Repeat("m", 253) + `"}`, strings.Repeat("m", 253)},
		"E41 a model of 254 bytes":             {`{"model":"` + strings.Repeat("m", 254) + `"}`, "!model_name"},
	}
}

func grammarCases() map[string]scannerCase {
	return map[string]scannerCase{
		"the top-level model is found":            {`{"model":"qwen"}`, "qwen"},
		"model may come last":                     {` {"messages" : [ {"role":"user"} ] , "n":1.5e-7,"model"	: "a/b:c-1_x@y+z" } ` + "\n", "a/b:c-1_x@y+z"},
		"a body without model has none":           {`{"prompt":"x"}`, ""},
		"an empty object has none":                {`{}`, ""},
		"a model may be written with escapes":     {`{"model":"\u0071w\/e\u006E"}`, "qw/en"},
		"a prefix of model is another key":        {`{"mode":"x","models":"y","":"z"}`, ""},
		"top-level keys at the bound":             {"{" + strings.Repeat(`"k":1,`, 1023) + `"model":"a"}`, "a"},
		"top-level keys over the bound":           {"{" + strings.Repeat(`"k":1,`, 1024) + `"model":"a"}`, "!json_keys"},
		"numbers of every form":                   {`{"x":[0,-0,10,1.50,-1e5,2E+10,3.1e-7,{"y":0}]}`, ""},
		"a leading zero":                          {`{"x":01}`, "!json_syntax"},
		"a plus sign":                             {`{"x":+1}`, "!json_syntax"},
		"a bare minus":                            {`{"x":-}`, "!json_syntax"},
		"a number without fraction digits":        {`{"x":1.}`, "!json_syntax"},
		"a number without integer digits":         {`{"x":.5}`, "!json_syntax"},
		"a number without exponent digits":        {`{"x":1e}`, "!json_syntax"},
		"a number with only an exponent sign":     {`{"x":1e+}`, "!json_syntax"},
		"a hexadecimal number":                    {`{"x":0x10}`, "!json_syntax"},
		"literals":                                {`{"x":[true,false,null]}`, ""},
		"a misspelt literal":                      {`{"x":trve}`, "!json_syntax"},
		"a literal that goes on":                  {`{"x":nullx}`, "!json_syntax"},
		"a cut literal":                           {`{"x":tr}`, "!json_syntax"},
		"a trailing comma in an object":           {`{"x":1,}`, "!json_syntax"},
		"a trailing comma in an array":            {`{"x":[1,]}`, "!json_syntax"},
		"a leading comma":                         {`{,"x":1}`, "!json_syntax"},
		"a missing colon":                         {`{"x" 1}`, "!json_syntax"},
		"a missing value":                         {`{"x":}`, "!json_syntax"},
		"a key that is no string":                 {`{x:1}`, "!json_syntax"},
		"brackets that do not match":              {`{"x":[}]`, "!json_syntax"},
		"an object closed as an array":            {`{"x":1]`, "!json_syntax"},
		"an unknown escape":                       {`{"x":"\x"}`, "!json_syntax"},
		"an unknown escape in a key":              {`{"\q":1}`, "!json_syntax"},
		"a short unicode escape":                  {`{"x":"\u12g4"}`, "!json_syntax"},
		"a string that never ends":                {`{"x":"`, "!json_syntax"},
		"a document that never ends":              {`{"model":"a"`, "!json_syntax"},
		"an empty body is no JSON":                {``, "!json_syntax"},
		"white space is no JSON":                  {"  \n", "!json_syntax"},
		"a comment":                               {`{/*x*/}`, "!json_syntax"},
		"escapes in a long prompt":                {`{"p":"` + strings.Repeat(`0123456\n\"\\\/\b\f\r\t\u00e9`, 50) + `","model":"a"}`, "a"},
		"a control character far into a prompt":   {`{"p":"` + strings.Repeat("x", 21) + "\x1f" + `"}`, "!json_syntax"},
		"a separator that only Unicode calls one": {"{\u2028}", "!json_syntax"},
	}
}

func TestScanner(t *testing.T) {
	t.Parallel()
	for name, tt := range scannerCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := scan(tt.body); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestScannerSlicesDoNotMatter(t *testing.T) {
	t.Parallel()
	for name, tt := range scannerCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each := make([]string, len(tt.body))
			for i := range len(tt.body) {
				each[i] = tt.body[i : i+1]
			}
			if got := scan(each...); got != tt.want {
				t.Errorf("byte by byte: got %q, want %q", got, tt.want)
			}
			for cut := range min(len(tt.body), 700) {
				if got := scan(tt.body[:cut], tt.body[cut:]); got != tt.want {
					t.Fatalf("cut at %d: got %q, want %q", cut, got, tt.want)
				}
			}
		})
	}
}

func TestScannerAllocatesNothing(t *testing.T) {
	body := []byte(`{"messages":[{"role":"user","content":"` + strings.Repeat(`hello \"you\" 世界 `, 500) +
		`"}],"temperature":0.7,"stream":true,"model":"qwen"}`)
	scanner := NewScanner(1024)
	allocations := testing.AllocsPerRun(100, func() {
		*scanner = Scanner{maxKeys: 1024}
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 1000)
			if err := scanner.Scan(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := scanner.End(); err != nil {
			t.Fatal(err)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations, want 0", allocations)
	}
}

func TestInvalidSaysWhere(t *testing.T) {
	t.Parallel()
	s := NewScanner(10)
	if err := s.Scan([]byte(`{"a":1`)); err != nil {
		t.Fatal(err)
	}
	err := s.Scan([]byte(`,"b":x}`))
	if want := "the body is not valid JSON at byte 11"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if again := s.End(); again != err {
		t.Errorf("the error did not last: %v", again)
	}
}

func TestModelAtIsWhereTheNameStands(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"model":"m"}`,
		"{ \"messages\" : [{\"model\":\"no\"}], \"model\" :\n\t\"qwen/2.5\" , \"n\":1}",
		`{"a":"model","model":"\u006d\"x","b":{"model":"no"}}`,
	} {
		for size := 1; size <= len(body); size++ {
			s := NewScanner(100)
			for at := 0; at < len(body); at += size {
				if err := s.Scan([]byte(body[at:min(at+size, len(body))])); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.End(); err != nil {
				t.Fatal(err)
			}
			from, to := s.ModelAt()
			var name string
			if err := json.Unmarshal([]byte(body[from-1:to+1]), &name); err != nil || name != s.Model() {
				t.Errorf("%s in slices of %d: [%d,%d) is %q, want %q: %v", body, size, from, to, name, s.Model(), err)
			}
		}
	}
}
