"""OpenAI's client library for Python against the simulated model server.

Run by python_test.go, which starts the server and sets OPENAI_BASE_URL.
"""

import unittest

import openai

QUESTION = [{"role": "user", "content": "Who are you?"}]


class Simulator(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI(max_retries=0)
        self.addCleanup(self.client.close)

    def chat(self, **change):
        request = {"model": "qwen", "messages": QUESTION, "max_tokens": 12} | change
        return self.client.chat.completions.create(**request)

    def test_a_chat_answers(self):
        got = self.chat()
        self.assertEqual((got.object, got.model), ("chat.completion", "qwen"))
        self.assertEqual(got.choices[0].message.role, "assistant")
        self.assertTrue(got.choices[0].message.content.startswith("I am qwen-v1, a simulated model."))
        self.assertIn(got.choices[0].finish_reason, ("stop", "length"))
        self.assertEqual(got.usage.total_tokens, got.usage.prompt_tokens + got.usage.completion_tokens)

    def test_a_chat_streams(self):
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        self.assertTrue(text.startswith("I am qwen-v1"), text)
        ends = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
        self.assertEqual(len(ends), 1)
        self.assertEqual(chunks[-1].choices, [])
        self.assertGreater(chunks[-1].usage.completion_tokens, 0)

    def test_completions_answer_each_prompt(self):
        for prompt, want in (("a", 2), (["a", "b"], 4), ([1, 2, 3], 2), ([[1], [2]], 4)):
            got = self.client.completions.create(model="qwen", prompt=prompt, n=2, max_tokens=4)
            self.assertEqual([c.index for c in got.choices], list(range(want)))
            self.assertEqual(got.object, "text_completion")

    def test_a_completion_streams(self):
        stream = self.client.completions.create(model="qwen", prompt="Who?", max_tokens=9, stream=True)
        text = "".join(c.choices[0].text for c in stream)
        self.assertTrue(text.startswith("I am qwen-v1"), text)

    def test_models_list_names_and_adapters(self):
        cards = {m.id: m for m in self.client.models.list()}
        self.assertEqual(list(cards)[:3], ["qwen", "alias", "travel"])
        self.assertEqual(cards["travel"].parent, "qwen")
        self.assertEqual(cards["qwen"].max_model_len, 8192)
        self.assertEqual(cards["qwen"].permission[0]["object"], "model_permission")

    def test_an_adapter_comes_and_goes(self):
        added = self.client.post(
            "/load_lora_adapter", body={"lora_name": "ski", "lora_path": "/models/ski"}, cast_to=str
        )
        self.assertEqual(added, "Success: LoRA adapter 'ski' added successfully.")
        with self.assertRaises(openai.BadRequestError) as twice:
            self.client.post("/load_lora_adapter", body={"lora_name": "ski", "lora_path": "/x"}, cast_to=str)
        self.assertEqual(twice.exception.type, "InvalidUserInput")
        self.assertEqual(self.chat(model="ski").model, "ski")
        self.client.post("/unload_lora_adapter", body={"lora_name": "ski"}, cast_to=str)
        with self.assertRaises(openai.NotFoundError):
            self.chat(model="ski")

    def test_an_unknown_model_is_not_found(self):
        with self.assertRaises(openai.NotFoundError) as e:
            self.chat(model="nope")
        got = e.exception
        self.assertEqual((got.type, got.param, int(got.code)), ("NotFoundError", "model", 404))
        self.assertEqual(got.body["message"], "The model `nope` does not exist.")

    def test_bad_requests_name_their_parameter(self):
        for change, kind, param in (
            ({"max_tokens": 0}, "BadRequestError", "max_tokens"),
            ({"n": 0}, "BadRequestError", "n"),
            ({"messages": []}, "Bad Request", "messages"),
            ({"stream_options": {"include_usage": True}}, "Bad Request", "stream_options"),
            ({"max_tokens": 1 << 20}, "BadRequestError", None),
        ):
            with self.subTest(change), self.assertRaises(openai.BadRequestError) as e:
                self.chat(**change)
            self.assertEqual((e.exception.type, e.exception.param), (kind, param))


if __name__ == "__main__":
    unittest.main()
