package openai

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
)

func question() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:     "qwen",
		Messages:  []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Who are you?")},
		MaxTokens: openai.Int(12),
	}
}

func TestAChatAnswers(t *testing.T) {
	t.Parallel()
	client, _ := connect(t)
	got, err := client.Chat.Completions.New(t.Context(), question())
	if err != nil {
		t.Fatal(err)
	}
	message := got.Choices[0].Message
	if string(got.Object) != "chat.completion" || got.Model != "qwen" || message.Role != "assistant" ||
		!strings.HasPrefix(message.Content, "I am qwen-v1, a simulated model.") || !strings.HasPrefix(got.ID, "chatcmpl-") {
		t.Errorf("answer %s", got.RawJSON())
	}
	if u := got.Usage; u.PromptTokens == 0 || u.CompletionTokens > 12 || u.TotalTokens != u.PromptTokens+u.CompletionTokens {
		t.Errorf("usage %+v", u)
	}
}

func TestAChatStreams(t *testing.T) {
	t.Parallel()
	client, _ := connect(t)
	params := question()
	params.N = openai.Int(2)
	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	stream := client.Chat.Completions.NewStreaming(t.Context(), params)
	var all openai.ChatCompletionAccumulator
	for stream.Next() {
		if !all.AddChunk(stream.Current()) {
			t.Fatalf("the client cannot add %s", stream.Current().RawJSON())
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if len(all.Choices) != 2 || all.Usage.CompletionTokens == 0 || all.Model != "qwen" {
		t.Fatalf("accumulated %+v", all.ChatCompletion)
	}
	for _, c := range all.Choices {
		if c.Message.Role != "assistant" || !strings.HasPrefix(c.Message.Content, "I am qwen-v1") || c.FinishReason == "" {
			t.Errorf("choice %+v", c)
		}
	}
}

func TestCompletionsAnswerEachPrompt(t *testing.T) {
	t.Parallel()
	client, _ := connect(t)
	prompts := map[string]openai.CompletionNewParamsPromptUnion{
		"a string":              {OfString: openai.String("Who?")},
		"two strings":           {OfArrayOfStrings: []string{"Who?", "What?"}},
		"token ids":             {OfArrayOfTokens: []int64{1, 2, 3}},
		"two lists of ids":      {OfArrayOfTokenArrays: [][]int64{{1, 2}, {3}}},
		"an adapter's question": {OfString: openai.String("Where?")},
	}
	for name, prompt := range prompts {
		want := 2
		if strings.HasPrefix(name, "two") {
			want = 4
		}
		params := openai.CompletionNewParams{Model: "qwen", Prompt: prompt, N: openai.Int(2), MaxTokens: openai.Int(8)}
		if strings.Contains(name, "adapter") {
			params.Model = "travel"
		}
		got, err := client.Completions.New(t.Context(), params)
		if err != nil || string(got.Object) != "text_completion" || len(got.Choices) != want || got.Model != string(params.Model) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestACompletionStreams(t *testing.T) {
	t.Parallel()
	client, _ := connect(t)
	stream := client.Completions.NewStreaming(t.Context(), openai.CompletionNewParams{
		Model: "alias", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("Who?")}, MaxTokens: openai.Int(9),
	})
	text := ""
	for stream.Next() {
		text += stream.Current().Choices[0].Text
		if got := stream.Current().Model; got != "qwen" {
			t.Errorf("a name for the same weights is answered as %q", got)
		}
	}
	if err := stream.Err(); err != nil || !strings.HasPrefix(text, "I am qwen-v1") {
		t.Errorf("answer %q, %v", text, err)
	}
}

func TestModelsListNamesAndAdapters(t *testing.T) {
	t.Parallel()
	client, _ := connect(t)
	page, err := client.Models.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range page.Data {
		ids = append(ids, m.ID)
		if string(m.Object) != "model" || m.OwnedBy != "vllm" || m.Created == 0 {
			t.Errorf("card %s", m.RawJSON())
		}
	}
	if got := strings.Join(ids, " "); got != "qwen alias travel" {
		t.Errorf("models %s", got)
	}
}

func TestAnAdapterComesAndGoes(t *testing.T) {
	t.Parallel()
	client, _ := connect(t)
	call := func(path string, body map[string]string) string {
		var resp *http.Response
		if err := client.Post(t.Context(), path, body, &resp); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	ask := func() (*openai.ChatCompletion, error) {
		params := question()
		params.Model = "ski"
		return client.Chat.Completions.New(t.Context(), params)
	}
	if got := call("load_lora_adapter", map[string]string{"lora_name": "ski", "lora_path": "/models/ski"}); got != "Success: LoRA adapter 'ski' added successfully." {
		t.Errorf("load said %q", got)
	}
	if got, err := ask(); err != nil || got.Model != "ski" || !strings.HasPrefix(got.Choices[0].Message.Content, "I am ski, a LoRA adapter") {
		t.Errorf("asked the adapter: %v, %v", got, err)
	}
	call("unload_lora_adapter", map[string]string{"lora_name": "ski"})
	refused(t, errorOf(ask()), 404, "NotFoundError", "model", "`ski` does not exist")
}

func TestErrorsAreVLLMs(t *testing.T) {
	t.Parallel()
	client, url := connect(t)
	chat := func(change func(*openai.ChatCompletionNewParams)) error {
		params := question()
		change(&params)
		return errorOf(client.Chat.Completions.New(t.Context(), params))
	}
	refused(t, chat(func(p *openai.ChatCompletionNewParams) { p.Model = "nope" }), 404, "NotFoundError", "model", "The model `nope` does not exist.")
	refused(t, chat(func(p *openai.ChatCompletionNewParams) { p.MaxTokens = openai.Int(0) }), 400, "BadRequestError", "max_tokens", "at least 1, got 0.")
	refused(t, chat(func(p *openai.ChatCompletionNewParams) { p.N = openai.Int(0) }), 400, "BadRequestError", "n", "at least 1, got 0.")
	refused(t, chat(func(p *openai.ChatCompletionNewParams) { p.Messages = nil }), 400, "Bad Request", "messages", "at least one message")
	refused(t, chat(func(p *openai.ChatCompletionNewParams) { p.MaxTokens = openai.Int(1 << 20) }), 400, "BadRequestError", "", "maximum context length is 8192 tokens")
	put(t, url, `{"errorRate":1,"model":"qwen"}`)
	refused(t, chat(func(*openai.ChatCompletionNewParams) {}), 500, "InternalServerError", "", "injected fault")
	if err := chat(func(p *openai.ChatCompletionNewParams) { p.Model = "travel" }); err != nil {
		t.Errorf("a fault of qwen reached travel: %v", err)
	}
}

func errorOf[T any](_ T, err error) error { return err }

// refused wants the client's own error with these fields.
func refused(t *testing.T, err error, status int, kind, param, message string) {
	t.Helper()
	var got *openai.Error
	if !errors.As(err, &got) {
		t.Errorf("want %d, got %v", status, err)
		return
	}
	if got.StatusCode != status || got.Type != kind || got.Param != param || !strings.Contains(got.Message, message) {
		t.Errorf("want %d %s %q %q, got %d %s", status, kind, param, message, got.StatusCode, got.RawJSON())
	}
}
