package kairos

import (
	"math"
	"strconv"
	"strings"
)

// Amount is money in millionths of its currency's unit: "12.50" is 12500000.
// It reads a JSON number or a string and writes a decimal string with at
// least two places.
type Amount int64

const amountUnit = 1_000_000

// ParseAmount reads a decimal such as "12.5" or "-0.001": no exponent, at
// most six places after the point and 12 digits before it.
func ParseAmount(s string) (Amount, error) {
	bad := Invalid("amount", "is not a decimal number with at most six places")
	neg := strings.HasPrefix(s, "-")
	whole, frac, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	if whole == "" && frac == "" || len(whole) > 12 || len(frac) > 6 || strings.HasSuffix(s, ".") {
		return 0, bad
	}
	v := int64(0)
	for _, c := range whole + (frac + "000000")[:6] {
		if c < '0' || c > '9' {
			return 0, bad
		}
		v = v*10 + int64(c-'0')
	}
	if neg {
		v = -v
	}
	return Amount(v), nil
}

// AmountOf rounds a float to the nearest millionth.
func AmountOf(f float64) Amount { return Amount(math.Round(f * amountUnit)) }

// Float returns the amount in whole units.
func (a Amount) Float() float64 { return float64(a) / amountUnit }

// String returns the decimal form: "12.50", "0.001".
func (a Amount) String() string {
	sign, v := "", uint64(a)
	if a < 0 {
		sign, v = "-", uint64(-a)
	}
	frac := strconv.FormatUint(v%amountUnit+amountUnit, 10)[1:]
	frac = strings.TrimRight(frac, "0")
	for len(frac) < 2 {
		frac += "0"
	}
	return sign + strconv.FormatUint(v/amountUnit, 10) + "." + frac
}

// MarshalJSON implements json.Marshaler.
func (a Amount) MarshalJSON() ([]byte, error) { return strconv.AppendQuote(nil, a.String()), nil }

// UnmarshalJSON implements json.Unmarshaler: a number or a string.
func (a *Amount) UnmarshalJSON(b []byte) error {
	s := string(b)
	if s == "null" {
		return nil
	}
	if len(s) > 1 && s[0] == '"' {
		s = s[1 : len(s)-1]
	}
	v, err := ParseAmount(s)
	if err != nil {
		return err
	}
	*a = v
	return nil
}
