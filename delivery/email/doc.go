// Package email composes mail and hands it to an SMTP server.
//
// Takes: a delivery.Message and the address of a relay.
// Gives: AppendMessage and Composer, which write the message as it travels
// (RFC 5322, MIME), and Provider, the provider named "smtp".
// Owns: a pool of connections that are kept open between messages.
// Promises: what it writes is 7-bit, its lines are at most 998 bytes long and
// end in CRLF, and no value can add a header, a part or a command; a message is
// handed over at most once for each call of Send, and a result never says less
// than Unknown when its final dot may have arrived.
// Fails: a message that can't be written is RejectedPerm without a reply code,
// trouble with the server before the final dot is NotSent.
package email
