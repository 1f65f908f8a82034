package email

const (
	qpLine = 75 // characters of an encoded line before its soft break (RFC 2045, 6.7)
	crlf   = "\r\n"
	soft   = "=\r\n"
	hexes  = "0123456789ABCDEF"
)

// plainByte tells the bytes that stand for themselves in quoted-printable.
func plainByte(c byte) bool { return plainBytes[c] }

// plainBytes is never written to.
var plainBytes = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c <= '~' && c != '=' || c == '\t'
	}
	return t
}()

// appendQuoted appends s in quoted-printable, starting at the beginning of a
// line and ending at one: text that doesn't end in a line break is followed by a
// soft one. So pieces that were encoded apart can be put together. Line ends of
// any kind become CRLF. A line never begins with a dot or with "From ", and
// "=_" never occurs.
func appendQuoted(dst []byte, s string) []byte {
	col := 0
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '\r' || c == '\n':
			if c == '\r' && i+1 < len(s) && s[i+1] == '\n' {
				i++
			}
			i++
			dst = append(closeLine(dst, col), crlf...)
			col = 0
		case plainByte(c) && (col != 0 || c != '.' && (c != 'F' || !hasFrom(s[i:]))):
			if col == qpLine {
				dst, col = append(dst, soft...), 0
				continue
			}
			j, end := i+1, min(len(s), i+qpLine-col)
			for j < end && plainByte(s[j]) {
				j++
			}
			dst = append(dst, s[i:j]...)
			col += j - i
			i = j
		default:
			if col+3 > qpLine {
				dst, col = append(dst, soft...), 0
			}
			dst = append(dst, '=', hexes[c>>4], hexes[c&15])
			col += 3
			i++
		}
	}
	if col > 0 {
		dst = append(dst, soft...)
	}
	return dst
}

// closeLine encodes a space or tab at the end of a line, which a relay may cut.
func closeLine(dst []byte, col int) []byte {
	if col == 0 {
		return dst
	}
	last := len(dst) - 1
	c := dst[last]
	if c != ' ' && c != '\t' {
		return dst
	}
	dst = dst[:last]
	if col+2 > qpLine {
		dst = append(dst, soft...)
	}
	return append(dst, '=', hexes[c>>4], hexes[c&15])
}

func hasFrom(s string) bool { return len(s) >= 5 && s[:5] == "From " }
