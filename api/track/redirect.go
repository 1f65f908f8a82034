package track

import (
	"net/http"
	"strconv"
	"strings"

	"kairos/internal/token"
)

// pixel is the smallest transparent GIF, 1 by 1.
const pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00\x21\xf9\x04\x01\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b"

// Header values that every hit gets, made once.
var (
	pixelBytes  = []byte(pixel)
	pixelLength = []string{strconv.Itoa(len(pixel))}
	gifType     = []string{"image/gif"}
	noStore     = []string{"no-store, max-age=0"}
	noReferrer  = []string{"no-referrer"}
	crossOrigin = []string{"cross-origin"}
)

// open answers with the pixel.
func (c *Collector) open(w http.ResponseWriter, r *http.Request, tok string) {
	v := c.visits.Get().(*visit)
	defer c.visits.Put(v)
	if !c.opened(v, strings.TrimSuffix(tok, ".gif"), machine(r)) {
		notFound(w)
		return
	}
	h := w.Header()
	h["Content-Type"] = gifType
	h["Content-Length"] = pixelLength
	h["Cache-Control"] = noStore
	h["Cross-Origin-Resource-Policy"] = crossOrigin // web mail may forbid other pictures
	if r.Method != http.MethodHead {
		_, _ = w.Write(pixelBytes) // a reader that has gone is no failure
	}
}

// click leads on to the destination that the token holds.
func (c *Collector) click(w http.ResponseWriter, r *http.Request, tok string) {
	v := c.visits.Get().(*visit)
	defer c.visits.Put(v)
	if !c.clicked(v, tok, machine(r)) {
		notFound(w)
		return
	}
	h := w.Header()
	h["Location"] = []string{string(v.location)}
	h["Cache-Control"] = noStore
	h["Referrer-Policy"] = noReferrer
	w.WriteHeader(http.StatusFound)
}

// leadsToWeb guards against a destination that a browser would run.
func leadsToWeb(destination string) bool {
	scheme, rest, ok := strings.Cut(destination, "://")
	return ok && rest != "" && (strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "http"))
}

// appendLocation appends the destination with the page's token added to its
// query and the rest as its author wrote it; what may not stand in a header is
// percent-encoded.
func (c *Collector) appendLocation(dst []byte, claims token.Claims) []byte {
	rest, fragment, hashed := strings.Cut(claims.Destination, "#")
	b := appendURL(dst, rest)
	switch i := strings.IndexByte(rest, '?'); {
	case i < 0:
		b = append(b, '?')
	case i < len(rest)-1 && !strings.HasSuffix(rest, "&"):
		b = append(b, '&')
	}
	b = c.opts.Keyring.AppendMint(append(b, "kt="...), claims.Track())
	if hashed {
		b = appendURL(append(b, '#'), fragment)
	}
	return b
}

func appendURL(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

const upperHex = "0123456789ABCDEF"

// withoutQuery is a destination for the log: its query and fragment may hold
// what belongs to the person.
func withoutQuery(destination string) string {
	if i := strings.IndexAny(destination, "?#"); i >= 0 {
		return destination[:i]
	}
	return destination
}
