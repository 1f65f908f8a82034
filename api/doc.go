// Package api is the REST door of Kairos under /v1, with its OpenAPI page, the
// health and metrics routes, and the mounts of the public tracking pages and
// the dashboard.
//
// Takes: HTTP requests with an API key, and the stages that do the work.
// Gives: JSON in snake_case, RFC 9457 problems for every error, CSV for
// reports, server-sent events and WebSocket for the live stream, OpenAPI 3.1.
// Owns: the tables api_keys and idempotency_keys.
// Promises: an error becomes a status in one place (errors.go); a problem
// never echoes a value of the input and a 5xx never shows an internal text; a
// POST repeated with its Idempotency-Key has one effect and one answer; a
// revoked key is refused within a second; logs hold no secret, address, token
// or query string.
// Fails: New, when an option is missing or two routes collide.
package api
