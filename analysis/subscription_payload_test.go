package analysis

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

// The published vector of Standard Webhooks 1.0.
func TestSignatureIsTheStandards(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	one := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	body := []byte(`{"test": 2432232314}`)
	require.Equal(t, one, signature([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body))
	two := strings.Split(signature([][]byte{[]byte("another"), key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body), " ")
	require.Len(t, two, 2)
	require.Equal(t, one, two[1])
	require.NotEqual(t, one, two[0])
}

func TestPausesGrowToAnHour(t *testing.T) {
	id, last := kairos.NewID(), time.Duration(0)
	for n := 1; n < 100; n++ {
		p := pauseAfter(id, n)
		require.Equal(t, p, pauseAfter(id, n), "seeded")
		require.GreaterOrEqual(t, p, 5*time.Second)
		require.LessOrEqual(t, p, time.Hour)
		if n <= 10 {
			require.Greater(t, p, last)
		}
		last = p
	}
	require.Less(t, pauseAfter(id, 1), 7*time.Second)
	require.Greater(t, last, 47*time.Minute)
	require.NotEqual(t, pauseAfter(id, 50), pauseAfter(kairos.NewID(), 50), "not all at once")
}

func TestRedact(t *testing.T) {
	for name, c := range map[string]struct {
		data    string
		classes []string
		want    string
		cut     bool
	}{
		"nothing":            {``, nil, ``, false},
		"plain":              {`{"amount":"12.50","order":17,"big":9007199254740993}`, nil, `{"amount":"12.50","order":17,"big":9007199254740993}`, false},
		"addresses":          {`{"email":"x","Phone":17,"note":"ask ann@example.com","url":"https://s.example/?m=ann%40example.com","a":{"to":"x","ok":1},"l":["b@c.example",2]}`, nil, `{"a":{"ok":1},"l":[null,2]}`, true},
		"a name":             {`{"ann@example.com":1}`, nil, `{}`, true},
		"classified":         {`{"amount":"12.50","currency":"EUR","size":"XXL","channel":{"x":1}}`, []string{"pii"}, `{"amount":"12.50","currency":"EUR"}`, true},
		"classified, plain":  {`{"reason":"suppressed"}`, []string{"gdpr"}, `{"reason":"suppressed"}`, false},
		"classified address": {`{"reason":"ann@example.com refused"}`, []string{"pii"}, `{}`, true},
		"no object":          {`["ann@example.com"]`, nil, ``, true},
	} {
		got, cut := redact(json.RawMessage(c.data), c.classes)
		require.Equal(t, c.cut, cut, name)
		if c.want == "" {
			require.Empty(t, got, name)
			continue
		}
		require.JSONEq(t, c.want, string(got), name)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add(`{"a":["x@y.z",{"b":"c@d"}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		got, _ := redact(json.RawMessage(s), nil)
		if len(got) > 0 {
			require.True(t, json.Valid(got))
			var values map[string]any
			require.NoError(t, json.Unmarshal(got, &values))
			require.False(t, withoutAddresses(values), "something was left")
		}
	})
}
