package creation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/content"
	"kairos/internal/pg"
)

// Template is one immutable version of a message's source, in Liquid.
type Template struct {
	ID        kairos.ID      `json:"id"`
	Name      string         `json:"name"`
	Channel   kairos.Channel `json:"channel"`
	Version   int            `json:"version"` // 1, 2, ...
	Subject   string         `json:"subject"`
	HTML      string         `json:"html"`
	Text      string         `json:"text"` // "": derived from the HTML
	CreatedAt time.Time      `json:"created_at"`
	UpdatedAt time.Time      `json:"updated_at"` // when this version was saved
}

// TemplateInput is what is saved. With ID it becomes that template's next
// version; an empty Name keeps the name.
type TemplateInput struct {
	ID      kairos.ID      `json:"id,omitzero"`
	Name    string         `json:"name,omitempty"`
	Channel kairos.Channel `json:"channel,omitempty"` // default email
	Subject string         `json:"subject"`
	HTML    string         `json:"html,omitempty"`
	Text    string         `json:"text,omitempty"`
}

// Rendered is a message as one person would get it.
type Rendered struct {
	Subject string `json:"subject"`
	HTML    string `json:"html"`
	Text    string `json:"text"`
}

// SaveTemplate checks the source by compiling and rendering it and stores it as
// a new version. Errors name subject, html or text, and the line.
func (c *Creation) SaveTemplate(ctx context.Context, in TemplateInput) (Template, error) {
	if in.Channel == "" {
		in.Channel = kairos.Email
	}
	in.Name = strings.TrimSpace(in.Name)
	switch {
	case in.Channel != kairos.Email:
		return Template{}, kairos.Invalid("channel", "must be email")
	case in.Name == "" && in.ID.IsZero():
		return Template{}, kairos.Invalid("name", "must not be empty")
	case len(in.Name) > maxName:
		return Template{}, kairos.Invalid("name", "is longer than %d bytes", maxName)
	}
	if err := checkText("name", in.Name); err != nil {
		return Template{}, err
	}
	if _, err := content.Compile(content.Source{Subject: in.Subject, HTML: in.HTML, Text: in.Text}); err != nil {
		return Template{}, err
	}
	now := c.clock.Now()
	id := in.ID
	version := 1
	err := pg.InTx(ctx, c.pool, func(tx pgx.Tx) error {
		if id.IsZero() {
			id = kairos.NewIDAt(now)
			_, err := tx.Exec(ctx, `
				INSERT INTO templates (id, name, channel, version, created_at, updated_at) VALUES ($1, $2, $3, 1, $4, $4)`,
				id, in.Name, string(in.Channel), now)
			if err != nil {
				return fmt.Errorf("insert template: %w", err)
			}
		} else {
			err := tx.QueryRow(ctx, `
				UPDATE templates SET version = version + 1, name = coalesce(nullif($2, ''), name), updated_at = $3
				WHERE id = $1 RETURNING version`, id, in.Name, now).Scan(&version)
			if err != nil {
				return missing(err, "template", id)
			}
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO template_versions (template, version, subject, html, text, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			id, version, in.Subject, in.HTML, in.Text, now)
		if err != nil {
			return fmt.Errorf("insert version of template %s: %w", id, err)
		}
		return nil
	})
	if err != nil {
		return Template{}, err
	}
	return c.Template(ctx, id, version)
}

const templateColumns = `t.id, t.name, t.channel, v.version, v.subject, v.html, v.text, t.created_at, v.created_at`

func scanTemplate(r pgx.CollectableRow) (t Template, err error) {
	err = r.Scan(&t.ID, &t.Name, &t.Channel, &t.Version, &t.Subject, &t.HTML, &t.Text, &t.CreatedAt, &t.UpdatedAt)
	return t, err
}

// Template returns a version, 0 the newest.
func (c *Creation) Template(ctx context.Context, id kairos.ID, version int) (Template, error) {
	rows, err := c.pool.Query(ctx, `
		SELECT `+templateColumns+` FROM templates t JOIN template_versions v ON v.template = t.id
		WHERE t.id = $1 AND v.version = CASE WHEN $2 = 0 THEN t.version ELSE $2 END`, id, version)
	if err != nil {
		return Template{}, fmt.Errorf("read template %s: %w", id, err)
	}
	t, err := pgx.CollectExactlyOneRow(rows, scanTemplate)
	if err != nil {
		return Template{}, missing(err, "template", id)
	}
	return t, nil
}

// Templates lists the newest version of each template in the order they were
// made, and the cursor to go on from, "" at the end.
func (c *Creation) Templates(ctx context.Context, limit int, after string) ([]Template, string, error) {
	limit, from, err := page(limit, after)
	if err != nil {
		return nil, "", err
	}
	rows, err := c.pool.Query(ctx, `
		SELECT `+templateColumns+` FROM templates t JOIN template_versions v ON v.template = t.id AND v.version = t.version
		WHERE $1::uuid IS NULL OR t.id > $1 ORDER BY t.id LIMIT $2`, from, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list templates: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanTemplate)
	if err != nil {
		return nil, "", fmt.Errorf("list templates: %w", err)
	}
	if len(list) > limit {
		return list[:limit], list[limit-1].ID.String(), nil
	}
	return list, "", nil
}

// PreviewInput says for whom a template is rendered: a stored contact, given
// data ({"contact": {...}, "campaign": {...}}), or both: data wins.
type PreviewInput struct {
	Contact kairos.ID      `json:"contact,omitzero"`
	Version int            `json:"version,omitempty"` // 0: the newest
	Data    map[string]any `json:"data,omitempty"`
}

// Preview renders a template. Its links lead where they say and record nothing.
func (c *Creation) Preview(ctx context.Context, id kairos.ID, in PreviewInput) (Rendered, error) {
	t, err := c.Template(ctx, id, in.Version)
	if err != nil {
		return Rendered{}, err
	}
	compiled, err := content.Compile(content.Source{Subject: t.Subject, HTML: t.HTML, Text: t.Text})
	if err != nil {
		return Rendered{}, fmt.Errorf("compile template %s: %w", id, err)
	}
	data := content.Data{"now": c.clock.Now(), "campaign": map[string]any{"name": t.Name}}
	if !in.Contact.IsZero() {
		p, err := c.Contact(ctx, in.Contact)
		if err != nil {
			return Rendered{}, err
		}
		if data["contact"], err = p.data(); err != nil {
			return Rendered{}, err
		}
	}
	for name, v := range in.Data {
		data[name] = v
	}
	var r Rendered
	r.Subject, r.HTML, r.Text, err = compiled.RenderFull(ctx, data, placeholders{})
	if errors.Is(err, kairos.ErrPermanent) {
		return Rendered{}, kairos.Invalid("template", "doesn't render for this person: %s", err.Error())
	}
	if err != nil {
		return Rendered{}, fmt.Errorf("preview template %s: %w", id, err)
	}
	return r, nil
}

// data is the contact as a template sees it, here and when it is sent: its
// fields, nil where empty, and its attributes under "attributes" and, where no
// field has the name, beside the fields.
func (p *Contact) data() (map[string]any, error) {
	attributes := map[string]any{}
	if len(p.Attributes) > 0 {
		if err := json.Unmarshal(p.Attributes, &attributes); err != nil {
			return nil, fmt.Errorf("read attributes of %s: %w", p.ID, err)
		}
	}
	m := make(map[string]any, len(attributes)+10)
	for name, v := range attributes {
		m[name] = v
	}
	for name, v := range map[string]string{"external_id": p.ExternalID, "email": p.Email, "first_name": p.FirstName, "last_name": p.LastName,
		"locale": p.Locale, "timezone": p.Timezone, "region": p.Region} {
		m[name] = nil
		if v != "" {
			m[name] = v
		}
	}
	m["id"], m["attributes"] = p.ID.String(), attributes
	return m, nil
}

// placeholders is a content.Tracker that tracks nothing.
type placeholders struct{}

func (placeholders) Link(_ uint16, destination string) (string, error) { return destination, nil }
func (placeholders) Pixel() string                                     { return "about:blank" }
func (placeholders) Unsubscribe() string                               { return "https://unsubscribe.invalid/" }
