package bodyrouter

// numberState is the part of a number that was read last (RFC 8259, section 6).
type numberState uint8

const (
	numMinus numberState = iota
	numZero
	numInt
	numPoint
	numFraction
	numExponent
	numSign
	numPower
)

func (s *Scanner) beginNumber(c byte) {
	s.state = inNumber
	switch {
	case c == '-':
		s.number = numMinus
	case c == '0':
		s.number = numZero
	case '1' <= c && c <= '9':
		s.number = numInt
	default:
		s.unexpected()
	}
}

// scanNumber reads on in a number and leaves the byte after it unread.
func (s *Scanner) scanNumber(b []byte, i int) int {
	for ; i < len(b); i++ {
		if s.number == numInt { // most of a list of token ids
			for i < len(b) && '0' <= b[i] && b[i] <= '9' {
				i++
			}
			if i == len(b) {
				return i
			}
			if b[i] == ',' && s.inArray() && i+1 < len(b) && '1' <= b[i+1] && b[i+1] <= '9' {
				i++ // the next one
				continue
			}
		}
		next, ok := s.number.after(b[i])
		if ok {
			s.number = next
			continue
		}
		switch s.number {
		case numZero, numInt, numFraction, numPower:
			s.endValue()
			return i
		}
		s.unexpected()
		return i + 1
	}
	return i
}

// after returns the state that c leads to; not ok when c is not part of the
// number.
func (n numberState) after(c byte) (next numberState, ok bool) {
	digit := '0' <= c && c <= '9'
	switch n {
	case numMinus:
		if c == '0' {
			return numZero, true
		}
		return numInt, digit
	case numInt, numZero:
		switch {
		case digit:
			return numInt, n == numInt
		case c == '.':
			return numPoint, true
		}
		return numExponent, c == 'e' || c == 'E'
	case numPoint:
		return numFraction, digit
	case numFraction:
		if digit {
			return numFraction, true
		}
		return numExponent, c == 'e' || c == 'E'
	case numExponent:
		if c == '+' || c == '-' {
			return numSign, true
		}
		return numPower, digit
	default: // numSign, numPower
		return numPower, digit
	}
}
