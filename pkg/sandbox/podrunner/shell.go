package podrunner

import (
	"strings"
	"unicode"
)

// splitShell splits a shell script into its simple commands, each a list of
// words: quotes, backslashes, comments, line continuations and $NAME are
// understood, redirections dropped. It is no shell: substitutions and control
// words come out as the text they are.
func splitShell(script string, env map[string]string) [][]string {
	s := shellSplitter{in: []rune(script), env: env}
	for s.pos < len(s.in) {
		s.step()
	}
	s.endCommand()
	return dropRedirections(s.commands)
}

type shellSplitter struct {
	in       []rune
	pos      int
	env      map[string]string
	word     strings.Builder
	inWord   bool
	words    []string
	commands [][]string
}

func (s *shellSplitter) step() {
	c := s.in[s.pos]
	s.pos++
	switch {
	case c == '\\':
		s.escape()
	case c == '\'':
		s.single()
	case c == '"':
		s.double()
	case c == '$':
		s.variable()
	case c == '#' && !s.inWord:
		for s.pos < len(s.in) && s.in[s.pos] != '\n' {
			s.pos++
		}
	case c == '&' && strings.HasSuffix(s.word.String(), ">"):
		s.put(c) // 2>&1
	case c == '\n' || c == ';' || c == '&' || c == '|':
		s.endCommand()
	case unicode.IsSpace(c):
		s.endWord()
	default:
		s.put(c)
	}
}

func (s *shellSplitter) put(c rune) {
	s.word.WriteRune(c)
	s.inWord = true
}

func (s *shellSplitter) escape() {
	if s.pos == len(s.in) {
		return
	}
	c := s.in[s.pos]
	s.pos++
	if c != '\n' {
		s.put(c)
	}
}

func (s *shellSplitter) single() {
	s.inWord = true
	for s.pos < len(s.in) && s.in[s.pos] != '\'' {
		s.put(s.in[s.pos])
		s.pos++
	}
	s.pos++
}

func (s *shellSplitter) double() {
	s.inWord = true
	for s.pos < len(s.in) {
		c := s.in[s.pos]
		s.pos++
		switch {
		case c == '"':
			return
		case c == '\\' && s.pos < len(s.in) && strings.ContainsRune("\"\\$`\n", s.in[s.pos]):
			s.escape()
		case c == '$':
			s.variable()
		default:
			s.put(c)
		}
	}
}

// variable replaces $NAME and ${NAME} where the container sets NAME, and keeps
// the text otherwise.
func (s *shellSplitter) variable() {
	start := s.pos
	braced := start < len(s.in) && s.in[start] == '{'
	if braced {
		start++
	}
	end := start
	for end < len(s.in) && (s.in[end] == '_' || unicode.IsLetter(s.in[end]) || unicode.IsDigit(s.in[end])) {
		end++
	}
	value, ok := s.env[string(s.in[start:end])]
	if !ok || (braced && (end == len(s.in) || s.in[end] != '}')) {
		s.put('$')
		return
	}
	s.word.WriteString(value)
	s.inWord = true
	s.pos = end
	if braced {
		s.pos++
	}
}

func (s *shellSplitter) endWord() {
	if s.inWord {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.inWord = false
}

func (s *shellSplitter) endCommand() {
	s.endWord()
	if len(s.words) > 0 {
		s.commands = append(s.commands, s.words)
	}
	s.words = nil
}

func dropRedirections(commands [][]string) [][]string {
	for i, words := range commands {
		kept := words[:0]
		for j := 0; j < len(words); j++ {
			operator := strings.TrimLeft(words[j], "0123456789")
			switch {
			case operator == ">" || operator == ">>" || operator == "<":
				j++ // and its file
			case strings.HasPrefix(operator, ">") || strings.HasPrefix(operator, "<"):
			default:
				kept = append(kept, words[j])
			}
		}
		commands[i] = kept
	}
	return commands
}
