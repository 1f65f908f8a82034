package creation

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/devstack"
)

var at = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// people of the segment tests: name and attributes.
const segmentPeople = `
INSERT INTO contacts (id, external_id, email, email_key, first_name, locale, timezone, region, attributes, created_at, updated_at)
SELECT gen_random_uuid(), n, n || '@Example.com', lower(n || '@example.com'), f, l, z, r, a::jsonb, $1::timestamptz - d * interval '1 day', $1::timestamptz FROM (VALUES
	('ann',  'Ann',  'de-AT', 'Europe/Vienna',    'AT', '{"plan":"pro","seats":12,"vip":true,"since":"2024-05-01","score":"7.5","tags":["x"]}', 1),
	('bob',  'Bob',  'en-US', 'America/New_York', 'US', '{"plan":"free","seats":"3","vip":"false","score":"abc"}', 10),
	('cid',  'Cid',  NULL,    NULL,               NULL, '{}', 100),
	('dot',  'dot',  'de',    'UTC',              'DE', '{"plan":"pro","seats":"1e5","vip":null,"score":-2,"a b":"c''d","seats2":{"x":1}}', 400)
) v(n, f, l, z, r, a, d)`

func TestSegmentsSelect(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	ctx := context.Background()
	_, err := pool.Exec(ctx, segmentPeople, at)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `
		INSERT INTO events (id, kind, subject, occurred_at, day, contact, data)
		SELECT gen_random_uuid(), k, gen_random_uuid(), w, w::date, (SELECT id FROM contacts WHERE external_id = n), d::jsonb FROM
		(SELECT n, k, $1::timestamptz - g * interval '1 day' AS w, d FROM (VALUES
			('ann', 'notification.opened', 3, NULL), ('bob', 'notification.opened', 3, '{"machine":"prefetch"}'),
			('cid', 'notification.opened', 30, '{}'), ('ann', 'payment.received', 1, NULL), ('ann', 'notification.accepted', 3, NULL),
			('bob', 'notification.clicked', 2, NULL), ('dot', 'payment.received', -1, NULL)) v(n, k, g, d)) x`, at)
	require.NoError(t, err)
	for expression, want := range map[string]string{
		`true`:                                        "ann bob cid dot",
		`email == "ANN@example.com"`:                  "ann",
		`email endsWith "@EXAMPLE.com"`:               "ann bob cid dot",
		`email != "ann@example.com"`:                  "bob cid dot",
		`external_id in ["ann", "cid", "x"]`:          "ann cid",
		`external_id not in ["ann", "cid"]`:           "bob dot",
		`first_name > "Z"`:                            "dot",
		`first_name >= "Bob"`:                         "bob cid dot",
		`lower(first_name) startsWith "d"`:            "dot",
		`upper(first_name) == "ANN"`:                  "ann",
		`locale startsWith "de"`:                      "ann dot",
		`region == nil`:                               "cid",
		`region != nil && timezone != "UTC"`:          "ann bob",
		`!(region == "AT")`:                           "bob dot",
		`region != "AT"`:                              "bob dot",
		`attributes.plan == "pro"`:                    "ann dot",
		`attributes["plan"] != "pro"`:                 "bob",
		`"pro" == attributes.plan`:                    "ann dot",
		`attributes.plan == nil`:                      "cid",
		`attributes.vip == nil`:                       "cid dot",
		`attributes.seats > 2`:                        "ann bob",
		`2 < attributes.seats`:                        "ann bob",
		`attributes.seats == 12.0`:                    "ann",
		`attributes.seats == "12"`:                    "ann",
		`attributes.score > 5`:                        "ann",
		`attributes.score <= -2`:                      "dot",
		`attributes.score < 1e9`:                      "ann dot",
		`attributes.plan > 5`:                         "",
		`not (attributes.plan > 5)`:                   "",
		`attributes.seats in [3, 12]`:                 "ann bob",
		`attributes.plan in ["pro", true, 1]`:         "ann dot",
		`attributes.seats2 > 0`:                       "",
		`attributes.tags == "x"`:                      "",
		`attributes.vip`:                              "ann",
		`attributes.vip == true`:                      "ann",
		`attributes.vip == false`:                     "bob",
		`!attributes.vip`:                             "bob",
		`attributes.plan contains "r"`:                "ann bob dot",
		`attributes.plan endsWith "o"`:                "ann dot",
		`attributes["a b"] == "c'd"`:                  "dot",
		`attributes?.plan == "free"`:                  "bob",
		`attributes.since >= "2024-01-01"`:            "ann",
		`attributes.nothing == "x" or region == "US"`: "bob",
		`created_at > "2026-02-25"`:                   "ann",
		`created_at <= "2025-11-22T12:00:00Z"`:        "cid dot",
		`age_days(created_at) >= 100`:                 "cid dot",
		`age_days(created_at) < 10.5`:                 "ann bob",
		`opened(7)`:                                   "ann",
		`opened(60)`:                                  "ann cid",
		`not opened(60)`:                              "bob dot",
		`clicked(7) || paid(7)`:                       "ann bob",
		`received(30) and !paid(365)`:                 "",
		`paid(1)`:                                     "",
		`paid(2)`:                                     "ann",
		"attributes.plan == \"pro\" &&\n\t(attributes.seats > 10 || region == \"DE\")": "ann dot",
	} {
		p, err := compileSegment(expression, at, nil)
		require.NoError(t, err, expression)
		rows, err := pool.Query(ctx, `SELECT external_id FROM contacts c WHERE `+p.sql+` ORDER BY 1`, p.args...)
		require.NoError(t, err, expression)
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err, "%s\n%s", expression, p.sql)
		require.Equal(t, want, strings.Join(names, " "), "%s\n%s", expression, p.sql)
	}
}

func TestSegmentsRefuse(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		``:                              "must not be empty",
		`region`:                        "line 1, column 1: must be compared",
		`1`:                             "line 1, column 1: isn't a condition",
		`region = "AT"`:                 "line 1, column 8",
		`region == "AT" &&`:             "unexpected token",
		`regoin == "AT"`:                "line 1, column 1: the name isn't known",
		"true &&\n  secret == \"1\"":    "line 2, column 3",
		`region == "AT" ? true : false`: "a choice between two values",
		`if region == "AT" { true } else { false }`:   "a choice between two values",
		`region matches "^A"`:                         "matches isn't supported",
		`region + "x" == "ATx"`:                       "isn't a value that can be compared",
		`attributes.a.b == 1`:                         "has members",
		`attributes[0] == 1`:                          "must be a text",
		`attributes == nil`:                           "the name isn't known",
		`region == 5`:                                 "different kinds",
		`created_at > "yesterday"`:                    "isn't a date",
		`created_at > attributes.x`:                   "compared with a date",
		`attributes.vip > true`:                       "have no order",
		`attributes.a == attributes.b`:                "two attributes",
		`1 == 1`:                                      "compares two values",
		`nil == nil`:                                  "nil is compared with",
		`region > nil`:                                "nil is compared with",
		`region in "AT"`:                              "a list of values",
		`region in []`:                                "the list is empty",
		`region in [region]`:                          "a list holds values only",
		`region in [1]`:                               "different kinds",
		`opened()`:                                    "takes one number of days",
		`opened("7")`:                                 "whole number of days",
		`opened(0)`:                                   "whole number of days",
		`opened(99999999)`:                            "whole number of days",
		`opened(7) == true`:                           "isn't compared",
		`age_days(region) > 1`:                        "takes created_at",
		`len(region) > 1`:                             "the function isn't known",
		`now() > created_at`:                          "the function isn't known",
		`any([1], # > 0)`:                             "the function isn't known",
		`let x = 1; x == 1`:                           "isn't a condition",
		`region contains attributes.x`:                "contains takes",
		`region == "` + "\x00" + `"`:                  "is not UTF-8",
		`region == "\u0000"`:                          "can't be stored",
		`region == "a" | lower()`:                     "must be compared",
		strings.Repeat("(", 3000) + "true":            "unexpected token",
		strings.Repeat("!", 200) + "true":             "nested deeper",
		strings.Repeat(" ", maxExpression+1) + "true": "longer than",
		`region in [` + strings.Repeat(`"a",`, 300) + `"b"]`:                      "more than 200 values",
		strings.Repeat(`opened(1)||`, 0) + strings.Repeat("true||", 600) + "true": "nested deeper",
	} {
		_, err := compileSegment(expression, at, nil)
		var field *kairos.FieldError
		if !assertField(t, err, &field) {
			t.Errorf("%.60q: want an error with %q, got %v", expression, want, err)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: want %q in %q", expression, want, err)
		}
	}
}

func assertField(t *testing.T, err error, field **kairos.FieldError) bool {
	t.Helper()
	if err == nil {
		return false
	}
	f, ok := err.(*kairos.FieldError) //nolint:errorlint // returned bare
	*field = f
	return ok && f.Field == "expression"
}

// sqlWords is everything that a compiled segment may be made of.
var sqlWords = regexp.MustCompile(`^(?:\$\d+|::|c\.(?:external_id|email_key|phone|first_name|last_name|locale|timezone|region|created_at|attributes|id)|` +
	`e\.(?:contact|kind|data|day|occurred_at)|NOT|AND|OR|IS|NULL|CASE|WHEN|THEN|END|EXISTS|SELECT|FROM|WHERE|COLLATE|EPOCH|true|false|` +
	`events e|text|numeric|boolean|timestamptz|date|jsonb_typeof|lower|upper|strpos|starts_with|right|length|coalesce|extract|epoch|` +
	`'(?:notification\.(?:opened|clicked|accepted)|payment\.received|number|string|true|false|machine||\{\})'|"C"|` +
	`'\^\\s\*\[\+-\]\?\(\\d\{1,50\}\(\\\.\\d\{0,50\}\)\?\|\\\.\\d\{1,50\}\)\\s\*\$'|` +
	`86400|0|->>|->|#>>|[()=<>~,/ -])*$`)

func TestSegmentSQLHoldsNothingOfTheUser(t *testing.T) {
	t.Parallel()
	for _, v := range []string{`x' OR 1=1 --`, `$1`, `"; DROP TABLE contacts; --`, `%s`, "\\", "é\u2028"} {
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v)
		p, err := compileSegment(`attributes["`+quoted+`"] == "`+quoted+`" || region in ["`+quoted+`"]`, at, []any{1})
		require.NoError(t, err)
		require.Regexp(t, sqlWords, p.sql)
		require.Equal(t, []any{1, v, v, v}, p.args)
	}
	require.NotRegexp(t, sqlWords, "x", "the pattern refuses what it doesn't know")
}

// FuzzSegment: whatever compiles is SQL that Postgres prepares and runs, made of
// known words alone.
func FuzzSegment(f *testing.F) {
	for _, s := range []string{
		`attributes.plan == "pro" && opened(30)`, `email endsWith "@x.org" or not (region in ["AT","DE"])`, `attributes["a b"] > -3.5e2`,
		`age_days(created_at) < 3 && created_at >= "2026-01-01"`, `attributes.vip != false`, `lower(attributes.x) contains "y"`,
		`attributes.x == nil`, `-attributes.x == 1`, `(((true)))`, `"a" == first_name`, `attributes?.x in [1,"1",true]`, `1 < attributes.x`,
		`attributes.n == 0x1F`, `attributes.n == 1_000`, "region == `raw`", `paid(1) and clicked(2) and received(3)`, `phone == 'it''s'`,
	} {
		f.Add(s)
	}
	pool := devstack.NewDB(f)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := compileSegment(s, at, []any{at})
		if err != nil {
			require.ErrorIs(t, err, kairos.ErrInvalid)
			return
		}
		require.Regexp(t, sqlWords, p.sql)
		rows, err := pool.Query(context.Background(), `SELECT c.id FROM contacts c WHERE $1::timestamptz IS NOT NULL AND `+p.sql, append([]any{pgx.QueryExecModeDescribeExec}, p.args...)...)
		require.NoError(t, err, p.sql)
		rows.Close()
		require.NoError(t, rows.Err(), p.sql)
	})
}
