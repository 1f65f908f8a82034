package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kairos"
	"kairos/internal/pg"
)

// keyLife is how long a key once read is believed without asking Postgres: a
// revocation by another process holds after it at the latest.
const keyLife = time.Second

// Keys keeps the API keys: kairos_<env>_<id>_<secret>. The secret has 256
// bits; its SHA-256 is stored and nothing else.
type Keys struct {
	pool  *pgxpool.Pool
	clock kairos.Clock

	mu   sync.Mutex
	seen map[string]seenKey // by id
}

type seenKey struct {
	hash     [sha256.Size]byte
	identity *Identity
	until    time.Time // machine time
}

// NewKeys returns the keys of the database behind pool.
func NewKeys(pool *pgxpool.Pool, clock kairos.Clock) *Keys {
	return &Keys{pool: pool, clock: clock, seen: map[string]seenKey{}}
}

// NewKey describes a key to make.
type NewKey struct {
	Env            string // "dev", "live": letters and digits, shows in the key; default "live"
	Name           string // for people
	Scopes         []string
	Purpose        string   // default purpose of the caller's tickets
	Classification []string // default classification of the caller's tickets
}

var envForm = regexp.MustCompile(`^[a-z0-9]{1,16}$`)

// Create makes a key and returns it whole, for the only time, and its id.
func (k *Keys) Create(ctx context.Context, n NewKey) (key, id string, err error) {
	if n.Env == "" {
		n.Env = "live"
	}
	if !envForm.MatchString(n.Env) {
		return "", "", kairos.Invalid("env", "must be 1 to 16 small letters and digits")
	}
	if n.Name == "" || len(n.Name) > 200 {
		return "", "", kairos.Invalid("name", "must have 1 to 200 bytes")
	}
	if len(n.Scopes) == 0 {
		return "", "", kairos.Invalid("scopes", "must name at least one of %s", strings.Join(Scopes(), ", "))
	}
	for _, s := range n.Scopes {
		if !slices.Contains(Scopes(), s) {
			return "", "", kairos.Invalid("scopes", "must be among %s", strings.Join(Scopes(), ", "))
		}
	}
	if n.Classification == nil {
		n.Classification = []string{}
	}
	id, secret := randomText(10), randomText(32)
	hash := sha256.Sum256([]byte(secret))
	_, err = k.pool.Exec(ctx, `
		INSERT INTO api_keys (id, secret, name, scopes, purpose, classification, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		id, hash[:], n.Name, n.Scopes, n.Purpose, n.Classification, k.clock.Now())
	if err != nil {
		return "", "", fmt.Errorf("create api key: %w", err)
	}
	return "kairos_" + n.Env + "_" + id + "_" + secret, id, nil
}

// randomText returns n random bytes as small letters and digits.
func randomText(n int) string {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		panic(err) // crypto/rand never fails on a supported platform
	}
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// Revoke ends a key: at once in this process, within a second in others.
func (k *Keys) Revoke(ctx context.Context, id string) error {
	tag, err := k.pool.Exec(ctx, `UPDATE api_keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1`, id, k.clock.Now())
	if err != nil {
		return fmt.Errorf("revoke api key: %w", err)
	}
	k.mu.Lock()
	delete(k.seen, id)
	k.mu.Unlock()
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("revoke api key: %w", kairos.ErrNotFound)
	}
	return nil
}

// KeyInfo is what may be shown of a key.
type KeyInfo struct {
	ID        string
	Name      string
	Scopes    []string
	CreatedAt time.Time
	RevokedAt *time.Time
}

// List returns all keys, the newest first.
func (k *Keys) List(ctx context.Context) ([]KeyInfo, error) {
	rows, err := k.pool.Query(ctx, `
		SELECT id, name, scopes, created_at, revoked_at FROM api_keys ORDER BY created_at DESC, id`)
	if err != nil {
		return nil, fmt.Errorf("list api keys: %w", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[KeyInfo])
	if err != nil {
		return nil, fmt.Errorf("list api keys: %w", err)
	}
	return out, nil
}

// errBadKey tells that a key is malformed, unknown, wrong or revoked; callers
// can't tell which.
var errBadKey = errors.New("key is not valid")

// Check returns who bears the key, or errBadKey.
func (k *Keys) Check(ctx context.Context, key string) (*Identity, error) {
	id, hash, ok := splitKey(key)
	if !ok {
		return nil, errBadKey
	}
	now := time.Now()
	k.mu.Lock()
	s, known := k.seen[id]
	k.mu.Unlock()
	if !known || now.After(s.until) {
		var err error
		if s, err = k.read(ctx, id); err != nil {
			return nil, err
		}
		s.until = now.Add(keyLife)
		k.remember(id, s)
	}
	if subtle.ConstantTimeCompare(s.hash[:], hash[:]) != 1 || s.identity == nil {
		return nil, errBadKey
	}
	return s.identity, nil
}

// known reports whether the key was right when it was last seen; it decides
// who is let through while failures from the same address are held back.
func (k *Keys) known(key string) bool {
	id, hash, ok := splitKey(key)
	if !ok {
		return false
	}
	k.mu.Lock()
	s, found := k.seen[id]
	k.mu.Unlock()
	return found && s.identity != nil && subtle.ConstantTimeCompare(s.hash[:], hash[:]) == 1
}

// splitKey returns the id and the hash of the secret.
func splitKey(key string) (id string, hash [sha256.Size]byte, ok bool) {
	if len(key) > 200 {
		return "", hash, false
	}
	parts := strings.Split(key, "_")
	if len(parts) != 4 || parts[0] != "kairos" || parts[2] == "" || parts[3] == "" {
		return "", hash, false
	}
	return parts[2], sha256.Sum256([]byte(parts[3])), true
}

// read returns the key of id; one without an identity is unknown or revoked. It
// is the first statement of a request, so it is the one to find that Postgres
// has been restarted, and asks once more.
func (k *Keys) read(ctx context.Context, id string) (seenKey, error) {
	s, err := k.ask(ctx, id)
	if pg.Lost(err) {
		s, err = k.ask(ctx, id)
	}
	return s, err
}

func (k *Keys) ask(ctx context.Context, id string) (s seenKey, err error) {
	i := &Identity{Key: id}
	var secret []byte
	var revoked *time.Time
	err = k.pool.QueryRow(ctx, `
		SELECT secret, name, scopes, purpose, classification, revoked_at FROM api_keys WHERE id = $1`, id).
		Scan(&secret, &i.Name, &i.Scopes, &i.Purpose, &i.Classification, &revoked)
	if errors.Is(err, pgx.ErrNoRows) {
		return seenKey{}, nil
	}
	if err != nil {
		return seenKey{}, fmt.Errorf("read api key: %w", err)
	}
	copy(s.hash[:], secret)
	if revoked == nil && len(secret) == sha256.Size {
		s.identity = i
	}
	return s, nil
}

// remember bounds the memory: unknown ids are made up by callers.
func (k *Keys) remember(id string, s seenKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.seen) >= 10_000 {
		clear(k.seen)
	}
	k.seen[id] = s
}
