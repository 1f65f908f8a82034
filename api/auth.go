package api

import (
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/httprate"
)

const securityName = "key"

// securityScheme documents the keys in OpenAPI.
func securityScheme() *huma.SecurityScheme {
	return &huma.SecurityScheme{
		Type: "http", Scheme: "bearer", BearerFormat: "kairos_<env>_<id>_<secret>",
		Description: "An API key. Each call names the scopes of which the key needs one:\n\n" +
			"- `contacts:write`: contacts, imports, segments, timelines, preferences and suppressions, to write and to read\n" +
			"- `campaigns:launch`: templates, campaigns, single messages and the ledger, to write and to read\n" +
			"- `reports:read`: campaigns and the ledger to read, reports, events and their stream\n" +
			"- `events:write`: recording events\n" +
			"- `dto:promote`: the models of delivery times\n" +
			"- `admin`: all of it, and resolving what became of a message by hand",
	}
}

// authenticate lets a request through whose key is right and holds a scope of
// the route, within the key's rate.
func (a *server) authenticate(ctx huma.Context, next func(huma.Context)) {
	r, w := humachi.Unwrap(ctx)
	w.Header().Set("Cache-Control", "no-store")
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	key = strings.TrimSpace(key)
	if !strings.EqualFold(scheme, "Bearer") || key == "" {
		a.refuse(ctx, w, r, "The call needs an API key: Authorization: Bearer kairos_...")
		return
	}
	ip := clientIP(r)
	if ok, _, err := a.failures.Status(ip); (err != nil || !ok) && !a.keys.known(key) {
		a.fail(ctx, newProblem(http.StatusTooManyRequests, "Too many failed tries from this address.").after("60"))
		return
	}
	identity, err := a.keys.Check(ctx.Context(), key)
	if errors.Is(err, errBadKey) {
		a.refuse(ctx, w, r, "The API key is not valid.")
		return
	}
	if err != nil {
		a.fail(ctx, err)
		return
	}
	v := visitOf(ctx.Context())
	v.key, v.caller = identity.Key, identity
	if a.rate.OnLimit(w, r, identity.Key) {
		a.fail(ctx, newProblem(http.StatusTooManyRequests, "The key makes too many requests."))
		return
	}
	if scopes := routeOf(ctx.Operation()).scopes; !identity.May(scopes...) {
		a.fail(ctx, newProblem(http.StatusForbidden, "The key needs the scope "+strings.Join(scopes, " or ")+"."))
		return
	}
	next(ctx)
}

func (a *server) refuse(ctx huma.Context, w http.ResponseWriter, r *http.Request, detail string) {
	if a.failures.OnLimit(discard{http.Header{}}, r, clientIP(r)) {
		a.fail(ctx, newProblem(http.StatusTooManyRequests, "Too many failed tries from this address.").after("60"))
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="kairos"`)
	a.fail(ctx, newProblem(http.StatusUnauthorized, detail))
}

// discard keeps the failure limiter's headers to itself.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// clientIP is the address of the connection. What a proxy says in a header is
// not believed: anybody can say it.
func clientIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return httprate.CanonicalizeIP(host)
}
