package track

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
)

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// pageCases are bodies with the kind, key and data kept, or the field refused.
var pageCases = []struct{ name, body, kind, key, data, field string }{
	{name: "viewed", body: `{"kind":"page.viewed"}`, kind: "page.viewed"},
	{name: "custom", body: `{"kind":"trial_2.started","data":{"plan":"a"}}`, kind: "trial_2.started", data: `{"plan":"a"}`},
	{name: "key", body: `{"kind":"offer.accepted","key":"o-1 ü"}`, kind: "offer.accepted", key: "o-1 ü"},
	{name: "empty data", body: `{"kind":"page.viewed","data":{}}`, kind: "page.viewed"},
	{name: "null data", body: `{"kind":"page.viewed","key":"","data":null,"amount":null}`, kind: "page.viewed"},
	{name: "payment, text", body: `{"kind":"payment.received","amount":"12.50","currency":"EUR","key":"o1"}`, kind: "payment.received", key: "o1", data: `{"amount":"12.50","currency":"EUR"}`},
	{name: "payment, number", body: `{"kind":"payment.received","amount":12.5,"currency":"EUR"}`, kind: "payment.received", data: `{"amount":"12.50","currency":"EUR"}`},
	{name: "payment, small letters", body: `{"kind":"payment.received","amount":0,"currency":"eur"}`, kind: "payment.received", data: `{"amount":"0.00","currency":"EUR"}`},
	{name: "payment over its data", body: `{"kind":"payment.received","amount":"1","currency":"EUR","data":{"amount":"999","currency":"USD","x":1}}`, kind: "payment.received", data: `{"amount":"1.00","currency":"EUR","x":1}`},
	{name: "amount elsewhere", body: `{"kind":"offer.accepted","amount":"7","currency":"CHF"}`, kind: "offer.accepted", data: `{"amount":"7.00","currency":"CHF"}`},
	{name: "machine is ours", body: `{"kind":"page.viewed","data":{"machine":"no","a":1}}`, kind: "page.viewed", data: `{"a":1}`},
	{name: "long numbers stay", body: `{"kind":"page.viewed","data":{"order":12345678901234567890,"x":1.10}}`, kind: "page.viewed", data: `{"order":12345678901234567890,"x":1.10}`},
	{name: "markup stays", body: `{"kind":"page.viewed","data":{"t":"<b>&\u2028\ud83d\ude00"}}`, kind: "page.viewed", data: `{"t":"<b>&\u2028😀"}`},
	{name: "broken text is mended", body: "{\"kind\":\"page.viewed\",\"data\":{\"t\":\"\xff\",\"u\":\"\\ud800\"}}", kind: "page.viewed", data: `{"t":"�","u":"�"}`},
	{name: "32 deep", body: `{"kind":"page.viewed","data":{"a":` + nested(30) + `}}`, kind: "page.viewed", data: `{"a":` + nested(30) + `}`},
	{name: "spaces around", body: " \n{\"kind\":\"page.viewed\"}\t ", kind: "page.viewed"},

	{name: "empty", field: "body"},
	{name: "null", body: `null`, field: "kind"},
	{name: "no JSON", body: `kind=page.viewed`, field: "body"},
	{name: "a list", body: `[{"kind":"page.viewed"}]`, field: "body"},
	{name: "two values", body: `{"kind":"page.viewed"}{}`, field: "body"},
	{name: "cut", body: `{"kind":"page.viewed"`, field: "body"},
	{name: "unknown field", body: `{"kind":"page.viewed","occurred_at":"2020-01-01T00:00:00Z"}`, field: "body"},
	{name: "33 deep", body: `{"kind":"page.viewed","data":{"a":` + nested(31) + `}}`, field: "body"},
	{name: "10,000 deep", body: nested(10_000), field: "body"},
	{name: "no kind", body: `{}`, field: "kind"},
	{name: "kind is a number", body: `{"kind":1}`, field: "body"},
	{name: "kind in capitals", body: `{"kind":"Page.viewed"}`, field: "kind"},
	{name: "kind of one word", body: `{"kind":"page"}`, field: "kind"},
	{name: "kind ends early", body: `{"kind":"page."}`, field: "kind"},
	{name: "long kind", body: `{"kind":"a.` + strings.Repeat("b", 99) + `"}`, field: "kind"},
	{name: "our kind", body: `{"kind":"notification.clicked"}`, field: "kind"},
	{name: "contact's kind", body: `{"kind":"contact.unsubscribed"}`, field: "kind"},
	{name: "long key", body: `{"kind":"page.viewed","key":"` + strings.Repeat("k", 201) + `"}`, field: "key"},
	{name: "NUL in key", body: `{"kind":"page.viewed","key":"a\u0000"}`, field: "key"},
	{name: "data is a list", body: `{"kind":"page.viewed","data":[1]}`, field: "data"},
	{name: "data is text", body: `{"kind":"page.viewed","data":"x"}`, field: "data"},
	{name: "NUL in data", body: `{"kind":"page.viewed","data":{"a":"\u0000"}}`, field: "data"},
	{name: "NUL in a name", body: `{"kind":"page.viewed","data":{"\u0000":1}}`, field: "data"},
	{name: "huge number", body: `{"kind":"page.viewed","data":{"a":[{"b":1e999999}]}}`, field: "data"},
	{name: "tiny number", body: `{"kind":"page.viewed","data":{"a":1E-999999}}`, field: "data"},
	{name: "data grows", body: `{"kind":"page.viewed","data":{"a":"` + strings.Repeat("\xff", 20_000) + `"}}`, field: "data"},
	{name: "payment without amount", body: `{"kind":"payment.received","currency":"EUR"}`, field: "amount"},
	{name: "payment without currency", body: `{"kind":"payment.received","amount":"1"}`, field: "currency"},
	{name: "negative payment", body: `{"kind":"payment.received","amount":"-1","currency":"EUR"}`, field: "amount"},
	{name: "amount is text", body: `{"kind":"payment.received","amount":"secret","currency":"EUR"}`, field: "amount"},
	{name: "amount with exponent", body: `{"kind":"payment.received","amount":1e3,"currency":"EUR"}`, field: "amount"},
	{name: "amount is an object", body: `{"kind":"payment.received","amount":{},"currency":"EUR"}`, field: "amount"},
	{name: "currency too long", body: `{"kind":"payment.received","amount":"1","currency":"EURO"}`, field: "currency"},
	{name: "currency of no letters", body: `{"kind":"page.viewed","currency":"€"}`, field: "currency"},
}

func TestPage(t *testing.T) {
	for i, c := range pageCases {
		t.Run(c.name, func(t *testing.T) {
			d := open(t)
			types := []string{"application/json", "text/plain;charset=UTF-8", ""} // sendBeacon says text/plain
			r := d.do(http.MethodPost, d.paths()["t"], c.body, "Content-Type", types[i%3], "Origin", "https://shop.example")
			require.Equal(t, "*", r.Header.Get("Access-Control-Allow-Origin"))
			body := text(t, r)
			if c.field != "" {
				require.Equal(t, 400, r.StatusCode, body)
				require.Equal(t, "application/problem+json", r.Header.Get("Content-Type"))
				var p struct{ Detail string }
				require.NoError(t, json.Unmarshal([]byte(body), &p))
				require.True(t, strings.HasPrefix(p.Detail, c.field+" "), p.Detail)
				require.NotContains(t, body, "secret")
				d.empty(t)
				return
			}
			require.Equal(t, 202, r.StatusCode, body)
			hit := d.one(t, c.kind)
			require.JSONEq(t, `{"id":"`+hit.Event.ID.String()+`"}`, body)
			require.Equal(t, c.key, hit.Event.Key)
			require.Equal(t, c.key != "", hit.Keyed)
			if c.data == "" {
				require.Empty(t, hit.Event.Data)
			} else {
				require.JSONEq(t, c.data, string(hit.Event.Data))
				require.Equal(t, strings.Contains(c.data, "12345678901234567890"), strings.Contains(string(hit.Event.Data), "12345678901234567890"))
			}
		})
	}
}

func TestPageMachine(t *testing.T) {
	d := open(t)
	r := d.do(http.MethodPost, d.paths()["t"], `{"kind":"page.viewed","data":{"machine":""}}`, "User-Agent", "Googlebot/2.1")
	require.Equal(t, 202, r.StatusCode)
	require.JSONEq(t, `{"machine":"agent"}`, string(d.one(t, kairos.PageViewed).Event.Data))
}

func TestPageTooLong(t *testing.T) {
	d := open(t)
	body := `{"kind":"page.viewed","data":{"a":"` + strings.Repeat("x", maxEvent) + `"}}`
	r := d.do(http.MethodPost, d.paths()["t"], body)
	require.Equal(t, 413, r.StatusCode)
	require.Equal(t, "application/problem+json", r.Header.Get("Content-Type"))
	require.Equal(t, "*", r.Header.Get("Access-Control-Allow-Origin"))
	d.empty(t)

	body = `{"kind":"page.viewed","data":{"a":"` + strings.Repeat("x", maxEvent-38) + `"}}` // the last length that fits
	require.Len(t, body, maxEvent)
	require.Equal(t, 202, d.do(http.MethodPost, d.paths()["t"], body).StatusCode)
	require.Len(t, d.hits(t), 1)
}

func TestPreflight(t *testing.T) {
	d := open(t)
	r := d.do(http.MethodOptions, d.paths()["t"], "", "Origin", "https://shop.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
	require.Equal(t, 204, r.StatusCode)
	require.Equal(t, "*", r.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "POST", r.Header.Get("Access-Control-Allow-Methods"))
	require.Equal(t, "Content-Type", r.Header.Get("Access-Control-Allow-Headers"))
	d.empty(t)
}
