// Package token seals who, what and where to of a tracked link into the link
// itself, so that a hit can be believed and redirected without a database.
//
// Takes: a root secret (KAIROS_SECRET) and the Claims of one link.
//
// Gives: a URL-safe string; and from such a string the same Claims again.
//
// Owns: the wire form, version 1:
//
//	token     = base64url( version 1 | key id 1 | nonce 12 | AES-256-GCM(plaintext) )
//	plaintext = purpose 1 | campaign 16 | notification 16 | link 2, big endian | destination, to the end
//	nonce     = the first 12 bytes of HMAC-SHA256(nonce key, plaintext)
//
// The two bytes before the nonce are the additional data of GCM. Both keys
// come from the root secret by HKDF-SHA256 (RFC 5869), one pair per key id and
// purpose. Equal claims give equal tokens under one key; different claims
// under one key meet the same nonce with probability n*n/2^97 for n tokens.
//
// Promises: nothing in a token is readable or changeable without the secret; a
// token minted for one purpose never opens for another; every token has
// exactly one spelling; tokens of every version ever released keep opening
// (the golden vectors in testdata say so) while their key is in the ring.
//
// Fails: Open returns ErrBadToken and nothing else, whatever is wrong.
package token

import (
	"fmt"

	"kairos"
)

// Purpose is what a token may be used for; it selects the keys.
type Purpose uint8

// The purposes of version 1. The numbers are on the wire for ever.
const (
	PurposeOpen        Purpose = 1 // the pixel, GET /o
	PurposeClick       Purpose = 2 // a redirect, GET /c
	PurposeUnsubscribe Purpose = 3 // preferences and one-click unsubscribe, /u
	PurposeTrack       Purpose = 4 // page events, the `kt` parameter and POST /t

	purposes = 4
)

// String returns the name: "open", "click", "unsubscribe" or "track". The
// names take part in the derivation of keys and never change.
func (p Purpose) String() string {
	switch p {
	case PurposeOpen:
		return "open"
	case PurposeClick:
		return "click"
	case PurposeUnsubscribe:
		return "unsubscribe"
	case PurposeTrack:
		return "track"
	}
	return fmt.Sprintf("purpose(%d)", uint8(p))
}

func (p Purpose) valid() bool { return p >= 1 && p <= purposes }

const (
	// MaxLen is the longest token, in characters, that is minted or opened.
	MaxLen = 4096
	// MaxDestination is the longest destination, in bytes, that fits.
	MaxDestination = MaxLen/4*3 - headerLen - nonceLen - tagLen - fixedLen

	version1  = 1
	headerLen = 2 // version, key id
	nonceLen  = 12
	tagLen    = 16
	fixedLen  = 1 + 16 + 16 + 2 // the plaintext without its destination
)

// ErrBadToken is the only error of Open. Its text is constant, so an answer
// made from it tells nobody what was wrong. It is a kairos.ErrNotFound.
var ErrBadToken = fmt.Errorf("bad token: %w", kairos.ErrNotFound)

// Claims is what a token says. It holds no personal data.
type Claims struct {
	Purpose      Purpose
	Campaign     kairos.ID
	Notification kairos.ID
	Link         uint16 // number of the link in the message's content, 0 for none
	Destination  string // where a click leads, absolute; "" where there is nowhere to go
}

// Track returns the claims of the `kt` token that a click on c hands to the
// landing page: the same campaign, notification and link, no destination.
func (c Claims) Track() Claims {
	c.Purpose, c.Destination = PurposeTrack, ""
	return c
}

// Validate reports why c cannot be minted: an unknown purpose, or a
// destination of more than MaxDestination bytes. What is inside the
// destination is the business of whoever mints.
func (c Claims) Validate() error {
	if !c.Purpose.valid() {
		return kairos.Invalid("purpose", "is unknown")
	}
	if len(c.Destination) > MaxDestination {
		return kairos.Invalid("destination", "is longer than %d bytes", MaxDestination)
	}
	return nil
}
