package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"

	"kairos"
	"kairos/delivery"
	"kairos/internal/token"
)

// roles a process may have.
var roles = []string{"api", "track", "creation", "orchestration", "delivery", "analysis"}

// settings are shared by serve, dev and demo. Each is a flag, a variable of
// the environment and a key of the YAML file.
type settings struct {
	DatabaseURL string `help:"Postgres, as postgres://user:password@host/database." env:"KAIROS_DATABASE_URL" placeholder:"URL"`
	RedisURL    string `help:"Redis: redis://, rediss://, redis-sentinel:// or redis-cluster://." env:"KAIROS_REDIS_URL" placeholder:"URL"`
	Listen      string `help:"Address to serve HTTP on." env:"KAIROS_LISTEN" default:"127.0.0.1:8080"`
	PublicURL   string `help:"Base of the links in messages. Default: the address served." env:"KAIROS_PUBLIC_URL" placeholder:"URL"`
	Secret      string `help:"Root key of tokens and sealed settings as ID:KEY; several while rotating, the first signs." env:"KAIROS_SECRET" placeholder:"KEYS"`
	DataDir     string `help:"Directory for local files." env:"KAIROS_DATA_DIR" type:"path" placeholder:"DIR"`
	SpoolDir    string `help:"Directory of the tracking spool, one for each process. Default: DATA-DIR/spool." env:"KAIROS_SPOOL_DIR" type:"path" placeholder:"DIR"`
	DefaultZone string `help:"Time zone of people whose zone is unknown." env:"KAIROS_DEFAULT_ZONE" default:"UTC"`

	EmailProvider      []string `help:"inbox (dev), smtp, sendgrid; several are the failover order." env:"KAIROS_EMAIL_PROVIDER" placeholder:"NAME"`
	EmailFrom          string   `help:"Sender, as \"Shop <news@example.com>\"." env:"KAIROS_EMAIL_FROM" placeholder:"ADDRESS"`
	EmailReplyTo       string   `help:"Where replies go, if not to the sender." env:"KAIROS_EMAIL_REPLY_TO" placeholder:"ADDRESS"`
	BounceDomain       string   `help:"Domain that receives bounces (VERP)." env:"KAIROS_BOUNCE_DOMAIN" placeholder:"DOMAIN"`
	SMTPURL            string   `name:"smtp-url" help:"As smtp://user:pass@host:port?connections=10 (or smtps://)." env:"KAIROS_SMTP_URL" placeholder:"URL"`
	DKIMDomain         string   `name:"dkim-domain" help:"Domain that signs mail; needs selector and key." env:"KAIROS_DKIM_DOMAIN" placeholder:"DOMAIN"`
	DKIMSelector       string   `name:"dkim-selector" help:"Selector of the DKIM key." env:"KAIROS_DKIM_SELECTOR" placeholder:"NAME"`
	DKIMKeyFile        string   `name:"dkim-key-file" help:"PEM file with the private DKIM key." env:"KAIROS_DKIM_KEY_FILE" type:"path" placeholder:"FILE"`
	SendGridAPIKey     string   `name:"sendgrid-api-key" help:"SendGrid API key." env:"KAIROS_SENDGRID_API_KEY" placeholder:"KEY"`
	SendGridURL        string   `name:"sendgrid-url" help:"SendGrid host: regional, or one for tests." env:"KAIROS_SENDGRID_URL" default:"https://api.sendgrid.com"`
	SendGridWebhookKey string   `name:"sendgrid-webhook-key" help:"Public key of SendGrid's signed event web hook." env:"KAIROS_SENDGRID_WEBHOOK_KEY" placeholder:"KEY"`

	ResponseWindow time.Duration `help:"How long after sending a click counts as a response to the moment." env:"KAIROS_RESPONSE_WINDOW" default:"24h"`
	TrainEvery     time.Duration `help:"Time between trainings of the timing model; negative: on request alone." env:"KAIROS_TRAIN_EVERY" default:"168h"`
	CanaryShare    float64       `help:"Share of the optimised arm that a timing model on trial receives." env:"KAIROS_CANARY_SHARE" default:"0.5"`

	ClockScale float64       `help:"Run domain time this many times as fast; simulations only." env:"KAIROS_CLOCK_SCALE" default:"1"`
	Grace      time.Duration `help:"How long a stop may take to finish what is in flight." env:"KAIROS_GRACE" default:"40s"`
	MaxConns   int           `help:"Connections to Postgres of this process." env:"KAIROS_MAX_CONNS" default:"20"`

	domain *kairos.ScaledClock `kong:"-"` // of a simulation that governs its clock; nil: by ClockScale
}

// clock is the machine's, or a scaled one for simulations. A scaled clock with
// a provider that reaches real people is refused.
func (s *settings) clock() (kairos.Clock, error) {
	if s.ClockScale == 1 && s.domain == nil {
		return kairos.SystemClock{}, nil
	}
	if s.ClockScale <= 0 {
		return nil, fmt.Errorf("clock scale must be positive")
	}
	for _, p := range s.EmailProvider {
		if p != "inbox" {
			return nil, fmt.Errorf("a scaled clock is for simulations: it is refused together with the provider %s", p)
		}
	}
	if s.domain != nil {
		return s.domain, nil
	}
	now := time.Now()
	return kairos.NewScaledClock(now, now, s.ClockScale), nil
}

// keyring reads the root keys, or, where none is configured and a data
// directory is given, makes one there and keeps it.
func (s *settings) keyring() (*token.Keyring, error) {
	secret := s.Secret
	if secret == "" && s.DataDir != "" {
		path := filepath.Join(s.DataDir, "secret")
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			raw := make([]byte, 32)
			if _, err := rand.Read(raw); err != nil {
				return nil, fmt.Errorf("make secret: %w", err)
			}
			b = []byte("1:" + hex.EncodeToString(raw))
			err = os.WriteFile(path, b, 0o600)
			if err != nil {
				return nil, fmt.Errorf("keep secret: %w", err)
			}
		} else if err != nil {
			return nil, fmt.Errorf("read secret: %w", err)
		}
		secret = strings.TrimSpace(string(b))
	}
	if secret == "" {
		return nil, fmt.Errorf("KAIROS_SECRET is not set: generate one with `openssl rand -hex 32` and give every process the same")
	}
	k, err := token.ParseKeyring(secret)
	if err != nil {
		return nil, fmt.Errorf("read KAIROS_SECRET: %w", err)
	}
	return k, nil
}

func address(name, s string) (delivery.Address, error) {
	if s == "" {
		return delivery.Address{}, nil
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return delivery.Address{}, fmt.Errorf("%s is not an address such as \"Shop <news@example.com>\"", name)
	}
	return delivery.Address{Name: a.Name, Email: a.Address}, nil
}

// yamlResolver reads a configuration file. A key that is no flag is an error:
// a misspelt setting must not be ignored in silence. Environment wins over the
// file.
func yamlResolver(r io.Reader) (kong.Resolver, error) {
	values := map[string]any{}
	if err := yaml.NewDecoder(r).Decode(&values); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read configuration file: %w", err)
	}
	return &fileResolver{values}, nil
}

type fileResolver struct{ values map[string]any }

// Validate implements kong.Resolver.
func (f *fileResolver) Validate(app *kong.Application) error {
	known := map[string]bool{}
	_ = kong.Visit(app, func(n kong.Visitable, next kong.Next) error {
		if flag, ok := n.(*kong.Flag); ok {
			known[flag.Name] = true
		}
		return next(nil)
	})
	var unknown []string
	for k := range f.values {
		if !known[strings.ReplaceAll(k, "_", "-")] {
			unknown = append(unknown, k)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("configuration file: unknown settings: %s", strings.Join(unknown, ", "))
	}
	return nil
}

// Resolve implements kong.Resolver.
func (f *fileResolver) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil
		}
	}
	for _, k := range []string{flag.Name, strings.ReplaceAll(flag.Name, "-", "_")} {
		if v, ok := f.values[k]; ok {
			return v, nil
		}
	}
	return nil, nil
}
