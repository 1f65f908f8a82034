package creation_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/creation"
)

func TestUpsertContactFindsThePersonAndMerges(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	ctx := context.Background()

	a, created, err := h.UpsertContact(ctx, creation.ContactInput{
		Email: " Ann@Example.com ", FirstName: "Ann", Timezone: "Europe/Vienna",
		Attributes: json.RawMessage(`{"plan":"pro","seats":3}`),
	})
	require.NoError(t, err)
	require.True(t, created)
	require.Equal(t, "Ann@Example.com", a.Email)

	h.clock.Advance(time.Hour)
	b, created, err := h.UpsertContact(ctx, creation.ContactInput{
		ExternalID: "x1", Email: "ann@example.COM", Attributes: json.RawMessage(`{"seats":null,"tier":"gold"}`),
	})
	require.NoError(t, err)
	require.False(t, created, "the address is known, in any case")
	require.Equal(t, a.ID, b.ID)
	require.Equal(t, "x1", b.ExternalID, "a person without an external id gets one")
	require.Equal(t, "Ann", b.FirstName, "what is absent stays")
	require.JSONEq(t, `{"plan":"pro","tier":"gold"}`, string(b.Attributes))
	require.Equal(t, noon.Add(time.Hour), b.UpdatedAt)

	h.clock.Advance(time.Hour)
	same, created, err := h.UpsertContact(ctx, creation.ContactInput{ExternalID: "x1", FirstName: "Ann"})
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, b.UpdatedAt, same.UpdatedAt, "nothing differs, nothing is written")

	_, _, err = h.UpsertContact(ctx, creation.ContactInput{ExternalID: "x2", Email: "ann@example.com"})
	require.ErrorIs(t, err, kairos.ErrConflict)

	moved, _, err := h.UpsertContact(ctx, creation.ContactInput{ExternalID: "x1", Email: "ann@new.example"})
	require.NoError(t, err)
	require.Equal(t, a.ID, moved.ID)
	fresh, created, err := h.UpsertContact(ctx, creation.ContactInput{ExternalID: "x2", Email: "ann@example.com"})
	require.NoError(t, err)
	require.True(t, created, "the address is free again")
	require.NotEqual(t, a.ID, fresh.ID)
}

func TestUpsertContactRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	for name, c := range map[string]struct {
		in    creation.ContactInput
		field string
	}{
		"nobody":             {creation.ContactInput{FirstName: "x"}, "email"},
		"no at":              {creation.ContactInput{Email: "ann.example.com"}, "email"},
		"display name":       {creation.ContactInput{Email: "Ann <ann@example.com>"}, "email"},
		"header smuggled":    {creation.ContactInput{Email: "ann@example.com\r\nBcc: x@y.z"}, "email"},
		"two addresses":      {creation.ContactInput{Email: "a@example.com,b@example.com"}, "email"},
		"comment":            {creation.ContactInput{Email: "ann(x)@example.com"}, "email"},
		"quoted":             {creation.ContactInput{Email: `"a b"@example.com`}, "email"},
		"long":               {creation.ContactInput{Email: strings.Repeat("a", 250) + "@example.com"}, "email"},
		"long local part":    {creation.ContactInput{Email: strings.Repeat("a", 65) + "@example.com"}, "email"},
		"zone":               {creation.ContactInput{ExternalID: "1", Timezone: "Mars/Base"}, "timezone"},
		"zone is a path":     {creation.ContactInput{ExternalID: "1", Timezone: "../../etc/passwd"}, "timezone"},
		"zone Local":         {creation.ContactInput{ExternalID: "1", Timezone: "Local"}, "timezone"},
		"name with line end": {creation.ContactInput{ExternalID: "1", FirstName: "a\nb"}, "first_name"},
		"NUL":                {creation.ContactInput{ExternalID: "a\x00b"}, "external_id"},
		"not UTF-8":          {creation.ContactInput{ExternalID: "1", LastName: "\xff"}, "last_name"},
		"long name":          {creation.ContactInput{ExternalID: "1", LastName: strings.Repeat("x", 201)}, "last_name"},
		"phone":              {creation.ContactInput{ExternalID: "1", Phone: "call me"}, "phone"},
		"locale":             {creation.ContactInput{ExternalID: "1", Locale: "de AT"}, "locale"},
		"attributes list":    {creation.ContactInput{ExternalID: "1", Attributes: json.RawMessage(`[1]`)}, "attributes"},
		"attributes NUL":     {creation.ContactInput{ExternalID: "1", Attributes: json.RawMessage(`{"a":"\u0000"}`)}, "attributes"},
		"attributes huge":    {creation.ContactInput{ExternalID: "1", Attributes: json.RawMessage(`{"a":1e999999}`)}, "attributes"},
		"attributes deep":    {creation.ContactInput{ExternalID: "1", Attributes: json.RawMessage(`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`)}, "attributes"},
	} {
		_, _, err := h.UpsertContact(context.Background(), c.in)
		var field *kairos.FieldError
		require.ErrorAs(t, err, &field, name)
		require.Equal(t, c.field, field.Field, name)
		require.NotContains(t, err.Error(), "example.com", name)
	}
	require.Zero(t, h.count(`SELECT count(*) FROM contacts`))
	_, _, err := h.UpsertContact(context.Background(), creation.ContactInput{ExternalID: "1", Timezone: "Nowhere/Land"})
	require.EqualError(t, err, "timezone is not an IANA zone")
	lone, _, err := h.UpsertContact(context.Background(), creation.ContactInput{ExternalID: "1", Attributes: json.RawMessage(`{"a":"\ud800","n":12345678901234567890}`)})
	require.NoError(t, err, "half of a surrogate pair is replaced")
	require.JSONEq(t, `{"a":"\ufffd","n":12345678901234567890}`, string(lone.Attributes))
}

func TestUpsertContactsRejectsRowByRow(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	ctx := context.Background()
	_, _, err := h.UpsertContact(ctx, creation.ContactInput{ExternalID: "old", Email: "old@example.com"})
	require.NoError(t, err)
	in := []creation.ContactInput{
		{Email: "a@example.com", FirstName: "A"},                             // 0 new
		{Email: "nonsense"},                                                  // 1 refused
		{ExternalID: "old", FirstName: "O"},                                  // 2 known
		{ExternalID: "b", Email: "old@example.com"},                          // 3 taken
		{Email: "A@example.com", LastName: "Z"},                              // 4 the person of 0
		{ExternalID: "old", Email: "newer@example.com"},                      // 5 gives its address up
		{ExternalID: "c", Email: "old@example.com"},                          // 6 new: the address is free now
		{ExternalID: "c", Attributes: json.RawMessage(`{"a":1,"b":2}`)},      // 7
		{ExternalID: "c", Attributes: json.RawMessage(`{"a":null,"c":"x"}`)}, // 8
	}
	got, err := h.UpsertContacts(ctx, in)
	require.NoError(t, err)
	require.Equal(t, creation.BatchResult{Created: 2, Updated: 5, Rejected: []creation.Rejection{
		{Index: 1, Error: "email is not a bare e-mail address"}, {Index: 3, Error: "email belongs to another contact"},
	}}, got)

	again, err := h.UpsertContacts(ctx, in[:5])
	require.NoError(t, err)
	require.Equal(t, int64(0), again.Created)
	list, next, err := h.Contacts(ctx, creation.ContactQuery{Limit: 2})
	require.NoError(t, err)
	require.Len(t, list, 2)
	rest, end, err := h.Contacts(ctx, creation.ContactQuery{Limit: 2, After: next})
	require.NoError(t, err)
	require.Len(t, rest, 1)
	require.Empty(t, end)
	byMail, _, err := h.Contacts(ctx, creation.ContactQuery{Email: "a@EXAMPLE.com"})
	require.NoError(t, err)
	require.Equal(t, "Z", byMail[0].LastName)
	c, err := h.ContactByExternalID(ctx, "c")
	require.NoError(t, err)
	require.JSONEq(t, `{"b":2,"c":"x"}`, string(c.Attributes))
	_, _, err = h.Contacts(ctx, creation.ContactQuery{After: "zzz"})
	require.ErrorIs(t, err, kairos.ErrInvalid)
	_, err = h.UpsertContacts(ctx, make([]creation.ContactInput, creation.MaxBatch+1))
	require.ErrorIs(t, err, kairos.ErrInvalid)
}

func TestConcurrentUpsertsOfOnePersonMakeOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	const n = 8
	made := make(chan bool, n)
	errs := make(chan error, n)
	for range n {
		go func() {
			_, created, err := h.UpsertContact(context.Background(), creation.ContactInput{Email: "one@example.com"})
			made <- created
			errs <- err
		}()
	}
	total := 0
	for range n {
		require.NoError(t, <-errs)
		if <-made {
			total++
		}
	}
	require.Equal(t, 1, total)
	require.Equal(t, int64(1), h.count(`SELECT count(*) FROM contacts`))
}

func TestPatchContact(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	ctx := context.Background()
	p, _, err := h.UpsertContact(ctx, creation.ContactInput{
		ExternalID: "1", Email: "a@example.com", Phone: "+43 1 234", FirstName: "A", Attributes: json.RawMessage(`{"x":1,"y":{"z":2}}`),
	})
	require.NoError(t, err)
	_, _, err = h.UpsertContact(ctx, creation.ContactInput{Email: "b@example.com"})
	require.NoError(t, err)
	patch := func(s string) (creation.Contact, error) {
		var m creation.ContactPatch
		require.NoError(t, json.Unmarshal([]byte(s), &m))
		return h.PatchContact(ctx, p.ID, m)
	}
	got, err := patch(`{"phone":null,"first_name":"B","attributes":{"x":null,"w":[1]}}`)
	require.NoError(t, err)
	require.Empty(t, got.Phone)
	require.Equal(t, "B", got.FirstName)
	require.Equal(t, "a@example.com", got.Email)
	require.JSONEq(t, `{"w":[1],"y":{"z":2}}`, string(got.Attributes))
	got, err = patch(`{"email":null,"attributes":null}`)
	require.NoError(t, err)
	require.Empty(t, got.Email)
	require.JSONEq(t, `{}`, string(got.Attributes))

	for body, field := range map[string]string{
		`{"external_id":null}`: "email", `{"timezone":"x/y"}`: "timezone", `{"first_name":5}`: "first_name",
		`{"colour":"red"}`: "colour", `{"attributes":[]}`: "attributes",
	} {
		_, err := patch(body)
		var fe *kairos.FieldError
		require.ErrorAs(t, err, &fe, body)
		require.Equal(t, field, fe.Field, body)
	}
	_, err = patch(`{"email":"B@example.com"}`)
	require.ErrorIs(t, err, kairos.ErrConflict)
	_, err = h.PatchContact(ctx, kairos.NewID(), nil)
	require.ErrorIs(t, err, kairos.ErrNotFound)
}

func TestEraseContactLeavesTheRow(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	ctx := context.Background()
	p, _, err := h.UpsertContact(ctx, creation.ContactInput{
		ExternalID: "1", Email: "a@example.com", Phone: "+43 1 234", FirstName: "A", LastName: "B", Locale: "de", Timezone: "UTC",
		Region: "AT", Attributes: json.RawMessage(`{"x":1}`),
	})
	require.NoError(t, err)
	h.exec(`INSERT INTO suppressions (channel, address, scope, reason, created_at) VALUES ('email', sha256('a@example.com'), 'all', 'manual', now())`)
	_, err = h.SetPreferences(ctx, p.ID, kairos.Preferences{Channels: map[string]bool{"email": false}})
	require.NoError(t, err)
	require.NoError(t, h.EraseContact(ctx, p.ID))
	require.NoError(t, h.EraseContact(ctx, p.ID))
	got, err := h.Contact(ctx, p.ID)
	require.NoError(t, err)
	require.NotNil(t, got.ErasedAt)
	got.ErasedAt = nil
	require.Equal(t, creation.Contact{ID: p.ID, Attributes: json.RawMessage(`{}`), CreatedAt: p.CreatedAt, UpdatedAt: noon}, got)
	require.Equal(t, int64(1), h.count(`SELECT count(*) FROM events WHERE kind = 'contact.erased' AND contact = $1`, p.ID))
	require.Equal(t, int64(1), h.count(`SELECT count(*) FROM suppressions`))
	_, err = h.PatchContact(ctx, p.ID, creation.ContactPatch{"first_name": json.RawMessage(`"x"`)})
	require.ErrorIs(t, err, kairos.ErrConflict)
	fresh, created, err := h.UpsertContact(ctx, creation.ContactInput{Email: "a@example.com"})
	require.NoError(t, err)
	require.True(t, created, "the address may come back as somebody new")
	require.NotEqual(t, p.ID, fresh.ID)
	require.ErrorIs(t, h.EraseContact(ctx, kairos.NewID()), kairos.ErrNotFound)
}

func TestSetPreferences(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	ctx := context.Background()
	p, _, err := h.UpsertContact(ctx, creation.ContactInput{ExternalID: "1"})
	require.NoError(t, err)
	var want kairos.Preferences
	require.NoError(t, json.Unmarshal([]byte(`{"channels":{"email":true},"preferred_hours":[{"days":["mon"],"from":"18:00","until":"21:00"}],"quiet_hours":{"from":"22:00","until":"07:00"}}`), &want))
	for range 2 {
		got, err := h.SetPreferences(ctx, p.ID, want)
		require.NoError(t, err)
		require.Equal(t, want, got.Preferences)
	}
	require.Equal(t, int64(2), h.count(`SELECT count(*) FROM events WHERE kind = 'contact.preferred'`))
	_, err = h.SetPreferences(ctx, p.ID, kairos.Preferences{PreferredHours: []kairos.HourRange{{Days: []string{"someday"}}}})
	require.ErrorIs(t, err, kairos.ErrInvalid)
}
