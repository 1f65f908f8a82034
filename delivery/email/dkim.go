package email

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/emersion/go-msgauth/dkim"

	"kairos"
)

// DKIM says how messages are signed (RFC 6376).
type DKIM struct {
	Domain     string // d=, the domain of the From address
	Selector   string // s=, whose TXT record holds the public key
	PrivateKey string // PEM: PKCS #8 (RSA or Ed25519) or PKCS #1
}

// signedHeaders are covered by the signature, present or not, so that none can
// be added on the way.
var signedHeaders = []string{
	"From", "Reply-To", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type",
	"Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post", "Feedback-ID",
}

type signer struct{ opts dkim.SignOptions }

func newSigner(d *DKIM) (*signer, error) {
	if !isHost(d.Domain) {
		return nil, kairos.Invalid("dkim.domain", "is not a host name")
	}
	if !isHost(d.Selector) {
		return nil, kairos.Invalid("dkim.selector", "is not a selector")
	}
	key, err := parseKey(d.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("parse private key: %w", err)
	}
	s := &signer{dkim.SignOptions{
		Domain: d.Domain, Selector: d.Selector, Signer: key, Hash: crypto.SHA256,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed,
		BodyCanonicalization:   dkim.CanonicalizationRelaxed,
		HeaderKeys:             signedHeaders,
	}}
	if _, err := s.sign([]byte("From: a@example.com\r\n\r\n\r\n"), 0); err != nil {
		return nil, err
	}
	return s, nil
}

func parseKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("is not PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("is neither PKCS #8 nor PKCS #1")
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("can't sign")
	}
	return s, nil
}

// sign puts a signature before the message b[start:].
func (s *signer) sign(b []byte, start int) ([]byte, error) {
	sg, err := dkim.NewSigner(&s.opts)
	if err != nil {
		return nil, fmt.Errorf("sign message: %w", err)
	}
	_, err = sg.Write(b[start:])
	if cerr := sg.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("sign message: %w", err)
	}
	field := sg.Signature()
	n := len(b)
	b = append(b, field...)
	copy(b[start+len(field):], b[start:n])
	copy(b[start:], field)
	return b, nil
}
