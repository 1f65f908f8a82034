// Package sendgrid sends mail through SendGrid's v3 Web API and reads its event
// web hook.
//
// Takes: up to 1,000 messages a call, an API key, and the signed events that
// SendGrid posts.
// Gives: Provider, named "sendgrid", and WebhookHandler.
// Owns: its HTTP connections.
// Promises: messages of one template travel as one content with substitution
// tags; each message is in at most one accepted request of a Send; a request
// that may have arrived in full is never repeated; an event is acknowledged only
// after it was recorded.
// Fails: by phase. Before the request was written in full, or any 3xx and 4xx:
// not accepted. A 5xx, a lost connection or a time-out after it: Unknown.
//
// The limits are those of Twilio's pages "Mail Send API Overview" (limitations),
// "Mail Send" (fields), "Errors" of Mail Send, and "Rate Limits".
package sendgrid
