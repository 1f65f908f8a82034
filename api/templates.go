package api

import (
	"context"
	"net/http"
	"time"

	"kairos"
	"kairos/creation"
)

// TemplateInput is the body of a save.
type TemplateInput struct {
	Name    string `json:"name" minLength:"1" maxLength:"200"`
	Channel string `json:"channel,omitempty" enum:"email" default:"email"`
	Subject string `json:"subject" maxLength:"2000" doc:"Liquid, one line."`
	HTML    string `json:"html" maxLength:"1000000" doc:"Liquid. Links are tracked, the pixel is added."`
	Text    string `json:"text,omitempty" maxLength:"1000000" doc:"Liquid. Default: derived from the HTML."`
}

// Template is one immutable version of a message's content.
type Template struct {
	ID        ID        `json:"id"`
	Name      string    `json:"name"`
	Channel   string    `json:"channel"`
	Version   int       `json:"version"`
	Subject   string    `json:"subject"`
	HTML      string    `json:"html"`
	Text      string    `json:"text"`
	CreatedAt time.Time `json:"created_at" doc:"Of the version."`
}

func templateOf(t *creation.Template) Template {
	return Template{ID{t.ID}, t.Name, string(t.Channel), t.Version, t.Subject, t.HTML, t.Text, t.CreatedAt}
}

// PreviewInput says with which values to render.
type PreviewInput struct {
	Contact *ID    `json:"contact,omitempty" doc:"Render for this person."`
	Data    Object `json:"data,omitempty" doc:"Render with these values, over those of the person."`
}

// Preview is a rendered message; its links are not tracked.
type Preview struct {
	Subject string `json:"subject"`
	HTML    string `json:"html"`
	Text    string `json:"text"`
}

func (a *server) templates() {
	save := func(ctx context.Context, id kairos.ID, in TemplateInput) (*body[Template], error) {
		t, err := a.opts.Creation.SaveTemplate(ctx, creation.TemplateInput{
			ID: id, Name: in.Name, Channel: kairos.Channel(in.Channel), Subject: in.Subject, HTML: in.HTML, Text: in.Text})
		return answer(templateOf(&t), err)
	}
	about := "Checked by a test rendering: what could fail or run away for a person is refused here."
	handle(a, call{method: http.MethodPost, path: "/v1/templates", id: "create-template", tag: "Templates", status: 201,
		summary: "Save a template", about: about, scopes: launches},
		func(ctx context.Context, in *struct {
			Body struct {
				ID *ID `json:"id,omitempty" doc:"Of the template whose next version this is; none: a new template."`
				TemplateInput
			} `nameHint:"NewTemplate"`
		}) (*body[Template], error) {
			id := kairos.ID{}
			if in.Body.ID != nil {
				id = in.Body.ID.ID
			}
			return save(ctx, id, in.Body.TemplateInput)
		})
	handle(a, call{method: http.MethodPut, path: "/v1/templates/{id}", id: "save-template", tag: "Templates",
		summary: "Save a new version of a template", about: about + " Launched campaigns keep the version they pinned.", scopes: launches},
		func(ctx context.Context, in *struct {
			ByID
			Body TemplateInput
		}) (*body[Template], error) {
			return save(ctx, in.ID.ID, in.Body)
		})
	handle(a, call{method: http.MethodGet, path: "/v1/templates", id: "list-templates", tag: "Templates",
		summary: "List templates", about: "Each in its newest version.", scopes: overviews},
		func(ctx context.Context, in *Page) (*listOutput[Template], error) {
			ts, next, err := a.opts.Creation.Templates(ctx, in.Limit, in.After)
			if err != nil {
				return nil, err
			}
			return newList(ts, next, templateOf), nil
		})
	handle(a, call{method: http.MethodGet, path: "/v1/templates/{id}", id: "get-template", tag: "Templates",
		summary: "Get a template", scopes: overviews},
		func(ctx context.Context, in *struct {
			ByID
			Version int `query:"version" minimum:"1" maximum:"2147483647" doc:"Default: the newest."`
		}) (*body[Template], error) {
			t, err := a.opts.Creation.Template(ctx, in.ID.ID, in.Version)
			return answer(templateOf(&t), err)
		})
	handle(a, call{method: http.MethodPost, path: "/v1/templates/{id}/preview", id: "preview-template", tag: "Templates",
		summary: "Render a template", about: "For a person or with given values.", scopes: launches},
		func(ctx context.Context, in *struct {
			ByID
			Version int `query:"version" minimum:"1" maximum:"2147483647" doc:"Default: the newest."`
			Body    PreviewInput
		}) (*body[Preview], error) {
			data, err := in.Body.Data.object()
			if err != nil {
				return nil, err
			}
			want := creation.PreviewInput{Version: in.Version, Data: data}
			if in.Body.Contact != nil {
				want.Contact = in.Body.Contact.ID
			}
			p, err := a.opts.Creation.Preview(ctx, in.ID.ID, want)
			return answer(Preview{p.Subject, p.HTML, p.Text}, err)
		})
}
