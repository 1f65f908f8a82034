package deliverytest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// SendGridOptions of a SendGrid. The zero value accepts any key.
type SendGridOptions struct {
	Addr   string // default 127.0.0.1:0
	APIKey string // demanded; "": any
	Seed   uint64 // of the faults' percentages and of shuffles
	// Fast counts recipients without reading the rest, to measure a client.
	Fast bool
	// Client posts events; default one with a time-out of 10 s.
	Client *http.Client
}

// CallFault is one rule of the script. Rules are tried in order; the first that
// matches strikes.
type CallFault struct {
	To      string  // only requests with this recipient; "": all
	Percent float64 // of the matching requests; 0: all
	Skip    int     // the first so many matching requests are spared
	Times   int     // strikes at most so often; 0: without end

	Take   bool              // the messages count, whatever is answered
	Delay  time.Duration     // before the answer
	Status int               // answered instead of 202, with an error of SendGrid's shape
	Header map[string]string // of that answer
	Field  string            // of that error; "%d" becomes the recipient's index
	Close  bool              // hang up without an answer
	Hang   bool              // never answer
}

// SendGrid is a server that speaks the v3 Mail Send format as documented and
// refuses what SendGrid refuses. Safe for concurrent use.
type SendGrid struct {
	opts SendGridOptions
	addr string
	key  *ecdsa.PrivateKey

	mu       sync.Mutex
	server   *http.Server
	faults   []CallFault
	seen     []int
	struck   []int
	rnd      *mathrand.Rand
	counts   map[string]int
	messages []GridMail
	calls    int
	total    int
	twice    int
	done     chan struct{}
}

// GridMail is a message that the server took.
type GridMail struct {
	To, Name            string
	Subject, Text, HTML string // before substitution
	Headers             map[string]string
	Args                map[string]string
	Substitutions       map[string]string
	MessageID           string // X-Message-Id of the request
}

// NewSendGrid starts a server.
func NewSendGrid(opts SendGridOptions) (*SendGrid, error) {
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	if opts.Client == nil {
		opts.Client = &http.Client{Timeout: 10 * time.Second}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	s := &SendGrid{opts: opts, key: key, counts: map[string]int{}, done: make(chan struct{})}
	s.SetFaults()
	ln, err := net.Listen("tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for requests: %w", err)
	}
	s.addr = ln.Addr().String()
	s.serve(ln)
	return s, nil
}

func (s *SendGrid) serve(ln net.Listener) {
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func(srv *http.Server) { _ = srv.Serve(ln) }(s.server)
}

// URL returns http://host:port.
func (s *SendGrid) URL() string { return "http://" + s.addr }

// PublicKey returns the verification key of its events, as SendGrid shows it.
func (s *SendGrid) PublicKey() string {
	der, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	if err != nil {
		panic(err) // a P-256 key always has a form
	}
	return base64.StdEncoding.EncodeToString(der)
}

// SetFaults replaces the script; its counters begin anew.
func (s *SendGrid) SetFaults(faults ...CallFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
	s.seen, s.struck = make([]int, len(faults)), make([]int, len(faults))
	s.rnd = mathrand.New(mathrand.NewPCG(s.opts.Seed, 11))
}

// Refuse closes the port and all connections, or opens it again.
func (s *SendGrid) Refuse(refuse bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if refuse == (s.server == nil) {
		return nil
	}
	if refuse {
		err := s.server.Close()
		s.server = nil
		return err
	}
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("listen for requests: %w", err)
	}
	s.serve(ln)
	return nil
}

// Close ends the server.
func (s *SendGrid) Close() error {
	s.mu.Lock()
	select {
	case <-s.done:
	default:
		close(s.done)
	}
	s.mu.Unlock()
	return s.Refuse(true)
}

// Accepted returns how many messages for rcpt the server took.
func (s *SendGrid) Accepted(rcpt string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[strings.ToLower(rcpt)]
}

// Total returns how many messages it took.
func (s *SendGrid) Total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// Duplicates returns how many went to a recipient who already had one.
func (s *SendGrid) Duplicates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.twice
}

// Calls returns how many requests were read in full.
func (s *SendGrid) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Messages returns what it took, in order; nothing when it is Fast.
func (s *SendGrid) Messages() []GridMail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]GridMail(nil), s.messages...)
}

// Message returns the newest message for rcpt.
func (s *SendGrid) Message(rcpt string) (GridMail, bool) {
	all := s.Messages()
	for i := len(all) - 1; i >= 0; i-- {
		if strings.EqualFold(all[i].To, rcpt) {
			return all[i], true
		}
	}
	return GridMail{}, false
}

// apiError is one error of an answer.
type apiError struct {
	Message string  `json:"message"`
	Field   *string `json:"field"`
	Help    *string `json:"help"`
}

func fail(w http.ResponseWriter, code int, errs ...apiError) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": errs})
}

func failure(field, message string) apiError {
	e := apiError{Message: message}
	if field != "" {
		e.Field = &field
	}
	return e
}

const maxRequest = 30 << 20

// ServeHTTP implements http.Handler.
func (s *SendGrid) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v3/mail/send" {
		fail(w, http.StatusNotFound, failure("", "not found"))
		return
	}
	if r.Method != http.MethodPost {
		fail(w, http.StatusMethodNotAllowed, failure("", "method not allowed"))
		return
	}
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || bearer == "" || s.opts.APIKey != "" && bearer != s.opts.APIKey {
		fail(w, http.StatusUnauthorized, failure("", "The provided authorization grant is invalid, expired, or revoked"))
		return
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		fail(w, http.StatusUnsupportedMediaType, failure("", "Content-Type should be application/json."))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		fail(w, http.StatusRequestEntityTooLarge, failure("", "content too large"))
		return
	}
	s.mu.Lock()
	s.calls++
	call := s.calls
	s.mu.Unlock()
	var mails []GridMail
	if s.opts.Fast {
		mails = fastRecipients(body)
	} else {
		var errs []apiError
		if mails, errs = readSend(body); len(errs) > 0 {
			fail(w, http.StatusBadRequest, errs...)
			return
		}
	}
	id := "sg" + strconv.Itoa(call)
	f, struck := s.strike(mails)
	if !struck || f.Take || f.Status == 0 && !f.Close && !f.Hang {
		s.take(mails, id)
	}
	if struck && s.act(w, r, f, mails) {
		return
	}
	w.Header().Set("X-Message-Id", id)
	w.WriteHeader(http.StatusAccepted)
}

// strike returns the fault for a request, if any.
func (s *SendGrid) strike(mails []GridMail) (CallFault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.faults {
		f := &s.faults[i]
		if f.To != "" && indexOf(mails, f.To) < 0 {
			continue
		}
		if s.seen[i]++; s.seen[i] <= f.Skip {
			continue
		}
		if f.Times > 0 && s.struck[i] >= f.Times || f.Percent > 0 && s.rnd.Float64()*100 >= f.Percent {
			continue
		}
		s.struck[i]++
		return *f, true
	}
	return CallFault{}, false
}

func indexOf(mails []GridMail, to string) int {
	for i := range mails {
		if strings.EqualFold(mails[i].To, to) {
			return i
		}
	}
	return -1
}

// act does what a fault says; false when the request goes on as usual.
func (s *SendGrid) act(w http.ResponseWriter, r *http.Request, f CallFault, mails []GridMail) bool {
	select {
	case <-time.After(f.Delay):
	case <-r.Context().Done():
	case <-s.done:
	}
	switch {
	case f.Hang:
		select {
		case <-r.Context().Done():
		case <-s.done:
		}
		panic(http.ErrAbortHandler)
	case f.Close:
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		for k, v := range f.Header {
			w.Header().Set(k, v)
		}
		field := f.Field
		if strings.Contains(field, "%d") {
			field = fmt.Sprintf(field, max(0, indexOf(mails, f.To)))
		}
		fail(w, f.Status, failure(field, http.StatusText(f.Status)+" for "+mails[0].To))
		return true
	}
	return false
}

func (s *SendGrid) take(mails []GridMail, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range mails {
		mails[i].MessageID = id
		key := strings.ToLower(mails[i].To)
		if s.counts[key]++; s.counts[key] > 1 {
			s.twice++
		}
		s.total++
	}
	if !s.opts.Fast {
		s.messages = append(s.messages, mails...)
	}
}

// fastRecipients finds the recipients of a request as our client writes it.
func fastRecipients(body []byte) (out []GridMail) {
	mark := []byte(`{"to":[{"email":"`)
	for {
		i := bytes.Index(body, mark)
		if i < 0 {
			return out
		}
		body = body[i+len(mark):]
		end := bytes.IndexByte(body, '"')
		if end < 0 {
			return out
		}
		out = append(out, GridMail{To: string(body[:end])})
	}
}
