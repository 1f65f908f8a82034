package kairos

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestForms(t *testing.T) {
	for s, want := range map[string]bool{
		"page.viewed": true, "a.b_c.d1": true, "page": false, "": false, "Page.viewed": false, ".a": false, "a..b": false,
		"a." + strings.Repeat("b", MaxKind): false,
	} {
		require.Equal(t, want, ValidKind(s), s)
	}
	for s, want := range map[string]bool{"EUR": true, "eur": false, "EURO": false, "": false, "E1R": false} {
		require.Equal(t, want, ValidCurrency(s), s)
	}
	for s, want := range map[string]int{`1`: 0, `{}`: 1, `{"a":[{"b":1}]}`: 3, `"[[["`: 0, `["\"[",[]]`: 2} {
		require.Equal(t, want, JSONDepth([]byte(s)), s)
	}
}

func TestAmounts(t *testing.T) {
	for in, want := range map[string]string{
		"12.5": "12.50", "0.001": "0.001", "-3": "-3.00", "7": "7.00", ".5": "0.50", "999999999999.999999": "999999999999.999999", "0": "0.00",
	} {
		a, err := ParseAmount(in)
		require.NoError(t, err, in)
		require.Equal(t, want, a.String())
		back, err := ParseAmount(a.String())
		require.NoError(t, err)
		require.Equal(t, a, back)
	}
	for _, in := range []string{"", ".", "1.", "1e3", "0.0000001", "1,5", "--1", "1234567890123", "NaN", "+1", " 1"} {
		_, err := ParseAmount(in)
		require.ErrorIs(t, err, ErrInvalid, in)
	}
	var a Amount
	require.NoError(t, a.UnmarshalJSON([]byte(`12.5`)))
	require.NoError(t, a.UnmarshalJSON([]byte(`"12.50"`)))
	require.Equal(t, Amount(12_500_000), a)
}

func TestIDs(t *testing.T) {
	r := NewIDRange(NewID().Time())
	for i := range 1000 {
		a, b := r.Nth(i).String(), r.Nth(i+1).String()
		require.Less(t, a, b)
		back, err := ParseID(a)
		require.NoError(t, err)
		require.Equal(t, r.Nth(i), back)
		require.Equal(t, byte('7'), a[14], "version 7")
	}
	for _, s := range []string{"", "x", strings.Repeat("0", 36), "0193-0000"} {
		_, err := ParseID(s)
		require.ErrorIs(t, err, ErrInvalid)
	}
	ref := AttemptRef{NewID(), 3}
	back, err := ParseAttemptRef(ref.String())
	require.NoError(t, err)
	require.Equal(t, ref, back)
	c := Cursor{XID: 7, Position: 9}
	at, err := ParseCursor(c.String())
	require.NoError(t, err)
	require.Equal(t, c, at)
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]string{"24h": "24h", "7d": "168h", "90m": "1h30m", "1h": "1h", "30s": "30s", "0s": "0s"} {
		var d Duration
		require.NoError(t, d.UnmarshalText([]byte(in)), in)
		require.Equal(t, want, d.String(), in)
	}
	var d Duration
	require.ErrorIs(t, d.UnmarshalText([]byte("tomorrow")), ErrInvalid)
}
