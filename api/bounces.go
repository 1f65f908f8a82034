package api

import (
	"context"
	"io"
	"mime"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"kairos/delivery"
)

// BounceResult tells what became of a bounce message.
type BounceResult struct {
	Recorded  bool   `json:"recorded"`
	Duplicate bool   `json:"duplicate,omitempty" doc:"It was recorded before."`
	Reason    string `json:"reason,omitempty" enum:"not_a_delivery_report,not_a_failure,names_no_attempt,unknown_attempt" doc:"Why it is not recorded."`
	Attempt   string `json:"attempt,omitempty" doc:"<notification>.<number>"`
	Kind      string `json:"kind,omitempty" enum:"notification.bounced,notification.deferred"`
	Class     string `json:"class,omitempty" enum:"hard,soft" doc:"hard: the mailbox does not exist and is written to no more."`
	Code      string `json:"code,omitempty" doc:"Status code of RFC 3463, such as 5.1.1."`
}

func bounceOf(b *delivery.Bounce) BounceResult {
	out := BounceResult{Recorded: b.Recorded, Duplicate: b.Duplicate, Reason: b.Reason, Kind: b.Kind, Class: b.Class, Code: b.Code}
	if b.Ref.Number > 0 {
		out.Attempt = b.Ref.String()
	}
	return out
}

func (a *server) bounces() {
	const path = "/v1/bounces"
	handle(a, call{method: http.MethodPost, path: path, id: "take-bounce", tag: "Events", status: 202,
		summary: "Take a bounce message", nobody: true, stream: true, scopes: []string{ScopeEvents}, errors: []int{413, 415},
		about: "The body is one message as it arrived (`message/rfc822`), at most 1 MB. A delivery status notification (RFC 3464) about an attempt of ours " +
			"becomes `notification.bounced` or `notification.deferred`: an unknown attempt is accepted, since it had left, and a hard bounce suppresses the mailbox. " +
			"The attempt is that of the return path `bounce+ATTEMPT@DOMAIN`: `to`, else `Kairos-To`, else the message's Delivered-To, X-Original-To or To; " +
			"failing all of them the header of the returned message names it. " +
			"Anything else is 202 with `recorded: false` and does nothing; a repeat is one event."},
		func(ctx context.Context, in *struct {
			upload
			To     string `query:"to" maxLength:"500" doc:"The envelope recipient the message was delivered to."`
			Header string `header:"Kairos-To" maxLength:"500" doc:"The same, out of the way of logs that keep queries."`
		}) (*body[BounceResult], error) {
			message, err := readMessage(in.ctx)
			if err != nil {
				return nil, err
			}
			to := in.To
			if to == "" {
				to = in.Header
			}
			b, err := a.opts.Delivery.TakeBounce(ctx, to, message)
			return answer(bounceOf(&b), err)
		})
	op := a.api.OpenAPI().Paths[path].Post
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"message/rfc822": {Schema: &huma.Schema{Type: "string"}}}}
}

// readMessage reads a mail message from the body.
func readMessage(ctx huma.Context) ([]byte, error) {
	r, w := humachi.Unwrap(ctx)
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "message/rfc822" && media != "message/global" {
		return nil, newProblem(http.StatusUnsupportedMediaType, "The body must be message/rfc822.", "header.Content-Type", "must be message/rfc822")
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, newProblem(http.StatusUnsupportedMediaType, "The body must not be compressed.", "header.Content-Encoding", "must be identity")
	}
	if r.ContentLength > delivery.MaxBounce {
		return nil, &http.MaxBytesError{Limit: delivery.MaxBounce}
	}
	return io.ReadAll(&patient{http.MaxBytesReader(w, r.Body, delivery.MaxBounce), http.NewResponseController(w)})
}
