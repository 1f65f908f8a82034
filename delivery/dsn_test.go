package delivery

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

const ann = "ann.lee@post.example"

// letters are DSNs in the manner of the servers that write them; REF is the
// attempt, ID the notification.
var letters = map[string]string{
	"postfix, no such user": `Return-Path: <>
X-Original-To: bounce+REF@bounce.shop.example
Date: Mon, 2 Mar 2026 09:10:00 +0000 (UTC)
From: MAILER-DAEMON@relay.shop.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: bounce+REF@bounce.shop.example
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="4F1C22A0.1772442600/relay.shop.example"

This is a MIME-encapsulated message.

--4F1C22A0.1772442600/relay.shop.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

The mail system at relay.shop.example could not hand the message over.

--4F1C22A0.1772442600/relay.shop.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.shop.example
X-Postfix-Queue-ID: 4F1C22A0
Arrival-Date: Mon,  2 Mar 2026 09:00:01 +0000 (UTC)

Final-Recipient: rfc822; ann.lee@post.example
Original-Recipient: rfc822;ann.lee@post.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.post.example
Diagnostic-Code: smtp; 550 5.1.1 <ann.lee@post.example>: Recipient address
    rejected: User unknown in virtual mailbox table

--4F1C22A0.1772442600/relay.shop.example
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

From: Shop <news@shop.example>
To: Ann Lee <ann.lee@post.example>
Message-ID: <ID@shop.example>
X-Kairos-Attempt: REF

--4F1C22A0.1772442600/relay.shop.example--
`,
	"postfix, delayed": `To: bounce+REF@bounce.shop.example
Date: Mon, 2 Mar 2026 13:10:00 +0000
Subject: Delayed Mail (still being retried)
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b/1"

--b/1
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.shop.example

Final-Recipient: rfc822; ann.lee@post.example
Action: delayed
Status: 4.4.1
Diagnostic-Code: X-Postfix; connect to mx.post.example[192.0.2.7]:25: Connection timed out
Will-Retry-Until: Sat, 7 Mar 2026 09:00:01 +0000 (UTC)

--b/1--
`,
	"exim, its own status hides the server's": `Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@relay.shop.example>
To: bounce+REF@bounce.shop.example
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=1772442600-eximdsn-33

--1772442600-eximdsn-33
Content-type: text/plain; charset=us-ascii

A message that you sent could not be delivered to all of its recipients.

--1772442600-eximdsn-33
Content-type: message/delivery-status

Reporting-MTA: dns; relay.shop.example

Action: failed
Final-Recipient: rfc822;ann.lee@post.example
Status: 5.0.0
Remote-MTA: dns; mx.post.example
Diagnostic-Code: smtp; 552-5.2.2 The mailbox of ann.lee is over quota

--1772442600-eximdsn-33
Content-type: message/rfc822

Return-path: <bounce+REF@bounce.shop.example>
X-Kairos-Attempt: REF
To: "Ann Lee" <ann.lee@post.example>

Hello
--1772442600-eximdsn-33--
`,
	"exchange, report in base64, returned by attempt header": `From: <postmaster@corp.example>
To: news@shop.example
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="_a1b2_corp"
Content-Language: en-US

--_a1b2_corp
Content-Type: multipart/alternative; differences=Content-Type; boundary="_inner_"

--_inner_
Content-Type: text/plain; charset="us-ascii"
Content-Transfer-Encoding: quoted-printable

Your message couldn't be delivered to the recipient=2E

--_inner_--

--_a1b2_corp
Content-Type: message/delivery-status
Content-Transfer-Encoding: base64

BASE64
--_a1b2_corp
Content-Type: message/rfc822

Received: from relay.shop.example by mail.corp.example; Mon, 2 Mar 2026 09:00:05 +0000
To: =?utf-8?q?Ann_Lee?= <Ann.Lee@post.example>
X-Kairos-Attempt: REF
Subject: Autumn

--_a1b2_corp--
`,
	"gmail, returned by Message-ID": `Delivered-To: news@shop.example
From: Mail Delivery Subsystem <mailer-daemon@google.test>
To: news@shop.example
Auto-Submitted: auto-replied
Subject: Delivery Status Notification (Failure)
Content-Type: multipart/report; boundary="0000000000001f"; report-type=delivery-status

--0000000000001f
Content-Type: multipart/related; boundary="00000000000020"

--00000000000020
Content-Type: text/html; charset="UTF-8"
Content-Transfer-Encoding: quoted-printable

<html><b>Message blocked</b></html>
--00000000000020--
--0000000000001f
Content-Type: message/delivery-status

Reporting-MTA: dns; google.test
Arrival-Date: Mon, 02 Mar 2026 01:00:00 -0800 (PST)

Final-Recipient: rfc822; ann.lee@post.example
Action: failed
Status: 5.7.1
Diagnostic-Code: smtp; 550-5.7.1 Our system has detected that this message is likely unsolicited
 mail. https://support.google.test/?u=ann.lee%40post.example
Last-Attempt-Date: Mon, 02 Mar 2026 01:00:02 -0800 (PST)

--0000000000001f
Content-Type: message/rfc822

To: ann.lee@post.example
Message-ID: <ID@shop.example>

--0000000000001f--
`,
	"expired, wrapped by a gateway, with an mbox line": `From MAILER-DAEMON Mon Mar  2 09:10:00 2026
To: bounce+REF@bounce.shop.example
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/report; report-type="Delivery-Status"; boundary=inner

--inner
Content-Type: message/delivery-status
Content-Transfer-Encoding: quoted-printable

Reporting-MTA: dns; relay.shop.example

Final-Recipient: rfc822; ann.lee=40post.example
Action: FAILED (expired)
Status: 4.4.7 (delivery time expired)

--inner--
--outer
Content-Type: text/plain

Scanned.
--outer--
`,
}

var want = map[string]struct {
	kind, class, code string
	number            int32
	date              bool
}{
	"postfix, no such user":                                  {kairos.NotificationBounced, "hard", "5.1.1", 2, true},
	"postfix, delayed":                                       {kairos.NotificationDeferred, "soft", "4.4.1", 2, false},
	"exim, its own status hides the server's":                {kairos.NotificationBounced, "soft", "5.2.2", 2, false},
	"exchange, report in base64, returned by attempt header": {kairos.NotificationBounced, "hard", "5.1.10", 2, false},
	"gmail, returned by Message-ID":                          {kairos.NotificationBounced, "soft", "5.7.1", 0, false},
	"expired, wrapped by a gateway, with an mbox line":       {kairos.NotificationBounced, "soft", "4.4.7", 2, false},
}

// letter fills in the attempt.
func letter(name string, ref kairos.AttemptRef) []byte {
	report := "Reporting-MTA: dns;corp.example\r\n\r\nFinal-recipient: RFC822;Ann.Lee@post.example\r\nAction: failed\r\nStatus: 5.1.10\r\n" +
		"Diagnostic-code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient ann.lee@post.example not found by SMTP address lookup\r\n"
	coded := base64.StdEncoding.EncodeToString([]byte(report))
	return []byte(strings.NewReplacer("REF", ref.String(), "ID@", ref.Notification.String()+"@", "BASE64", coded[:76]+"\n"+coded[76:]).Replace(letters[name]))
}

func TestDSNsOfManyServers(t *testing.T) {
	require.Len(t, want, len(letters))
	ref := kairos.AttemptRef{Notification: kairos.NewID(), Number: 2}
	for name, w := range want {
		for ending, message := range map[string][]byte{
			"LF": letter(name, ref), "CRLF": []byte(strings.ReplaceAll(string(letter(name, ref)), "\n", "\r\n")),
		} {
			t.Run(name+" "+ending, func(t *testing.T) {
				n, ok := parseDSN(message)
				require.True(t, ok)
				v := n.verdict()
				require.Equal(t, []string{w.kind, w.class, w.code}, []string{v.kind, v.class, v.code})
				got, ok := n.attempt("")
				require.True(t, ok)
				require.Equal(t, kairos.AttemptRef{Notification: ref.Notification, Number: w.number}, got)
				require.Contains(t, n.mailboxes(), ann)
				said := withoutAddresses(v.reason, n.mailboxes())
				require.NotContains(t, strings.ToLower(said), "ann.lee")
				require.NotContains(t, said, "@")
				from := start
				now := start.Add(time.Hour)
				if w.date {
					require.Equal(t, start.Add(10*time.Minute), n.at(&from, now))
				} else {
					require.Equal(t, now, n.at(&from, now), "no date, or one of the future")
				}
			})
		}
	}
}

// The words that are left still say why.
func TestDSNKeepsTheServersWords(t *testing.T) {
	n, _ := parseDSN(letter("postfix, no such user", kairos.AttemptRef{Notification: kairos.NewID(), Number: 1}))
	require.Equal(t, "550 5.1.1 <address> Recipient address rejected: User unknown in virtual mailbox table", withoutAddresses(n.verdict().reason, n.mailboxes()))
}

// report is a DSN with these groups about recipients.
func report(groups ...string) []byte {
	return []byte("Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n" +
		"Reporting-MTA: dns; a.example\n\n" + strings.Join(groups, "\n\n") + "\n--b--\n")
}

func TestVerdicts(t *testing.T) {
	for text, w := range map[string]string{
		"Action: failed\nStatus: 5.0.0":                                                          "hard 5.0.0",
		"Action: failed\nStatus: 5.4.4\nDiagnostic-Code: x; host not found":                      "hard 5.4.4",
		"Action: failed\nStatus: 5.2.1":                                                          "hard 5.2.1",
		"Action: failed\nStatus: 5.2.2":                                                          "soft 5.2.2",
		"Action: failed\nStatus: 5.7.26":                                                         "soft 5.7.26",
		"Action: failed\nStatus: 5.6.1":                                                          "soft 5.6.1",
		"Action: failed\nStatus: 5.3.4":                                                          "soft 5.3.4",
		"Action: failed\nStatus: 4.2.2":                                                          "soft 4.2.2",
		"Action: failed\nStatus: none\nDiagnostic-Code: smtp; 550 no such user":                  "hard 5.0.0",
		"Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 554 rejected due to spam":         "soft 5.0.0",
		"Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 #5.1.0 Address rejected.":     "hard 5.1.0",
		"Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 450 4.7.1 host 5.6.7.8 is listed": "hard 5.0.0",
		"Action: failed":                                                         "soft ",
		"Action: failed\nStatus: 2.0.0":                                          "soft 2.0.0",
		"Status: 5.1.1":                                                          "hard 5.1.1",
		"Action: delayed\nStatus: 4.4.1":                                         "deferred 4.4.1",
		"Action: delivered\nStatus: 2.1.5":                                       " 2.1.5",
		"Action: relayed\nStatus: 5.1.1":                                         " 5.1.1",
		"Action: expanded\nStatus: 2.0.0":                                        " 2.0.0",
		"Action: failed\nAction: delayed\nStatus: 5.1.1":                         "hard 5.1.1",
		"Status: 5.1.1 5.2.2\nAction: failed":                                    "hard 5.1.1",
		"Action: failed\nStatus: 55.1.1":                                         "soft ",
		"X: y":                                                                   " ",
		"Action: failed\nStatus: 5.1.1\n\nAction: delayed":                       "deferred ",
		"Action: failed\nStatus: 5.1.1\n\nAction: failed\nStatus: 5.2.2":         "soft 5.2.2",
		"Action: delivered\nStatus: 2.0.0\n\nAction: failed\nStatus: 5.1.1":      " 2.0.0",
		"\n\n \nAction: failed\nnonsense\nStatus : 5.1.1":                        "hard 5.1.1",
		"Action: failed\nStatus:\n  5.1.1":                                       "hard 5.1.1",
		"Final-Recipient: rfc822; a@b.example\nAction:\tFailed\nStatus: 5.1.1\r": "hard 5.1.1",
	} {
		n, ok := parseDSN(report(text))
		require.True(t, ok, text)
		v := n.verdict()
		class := v.class
		if v.kind == kairos.NotificationDeferred {
			class = "deferred"
		}
		require.Equal(t, w, class+" "+v.code, text)
	}
}

func TestWhatIsNoDSN(t *testing.T) {
	for name, message := range map[string]string{
		"nothing":             "",
		"no header":           "hello",
		"vacation":            "To: bounce+x@y.example\nAuto-Submitted: auto-replied\nSubject: I am away\n\nBack on Monday. Status: 5.1.1\n",
		"receipt":             strings.Replace(string(report("Action: failed\nStatus: 5.1.1")), "delivery-status", "disposition-notification", 1),
		"complaint":           strings.Replace(string(report("Action: failed\nStatus: 5.1.1")), "delivery-status", "feedback-report", 1),
		"no report type":      strings.Replace(string(report("Action: failed\nStatus: 5.1.1")), "report-type=delivery-status; ", "", 1),
		"no boundary":         strings.Replace(string(report("Action: failed\nStatus: 5.1.1")), "; boundary=b", "", 1),
		"another boundary":    strings.Replace(string(report("Action: failed\nStatus: 5.1.1")), "boundary=b", "boundary=c", 1),
		"broken content type": strings.Replace(string(report("Action: failed\nStatus: 5.1.1")), "boundary=b", "boundary=\"b", 1),
		"only mixed":          strings.Replace(string(report("Action: failed\nStatus: 5.1.1")), "multipart/report", "multipart/mixed", 1),
		"forwarded":           "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/rfc822\n\n" + string(report("Action: failed\nStatus: 5.1.1")) + "\n--o--\n",
		"too deep":            deep(dsnDepth+1, string(report("Action: failed\nStatus: 5.1.1"))),
	} {
		_, ok := parseDSN([]byte(message))
		require.False(t, ok, name)
	}
	_, ok := parseDSN([]byte(deep(dsnDepth-1, string(report("Action: failed\nStatus: 5.1.1")))))
	require.True(t, ok)
}

func deep(levels int, message string) string {
	for i := range levels {
		message = fmt.Sprintf("Content-Type: multipart/mixed; boundary=o%d\n\n--o%d\n%s\n--o%d--\n", i, i, message, i)
	}
	return message
}

// TestHostileDSNs are read within bounds, in little time, and say no more than
// what they say.
func TestHostileDSNs(t *testing.T) {
	ref := kairos.AttemptRef{Notification: kairos.NewID(), Number: 2}
	good := string(letter("postfix, no such user", ref))
	big := strings.Repeat("x", 700<<10)
	for name, c := range map[string]struct {
		message string
		ok      bool
	}{
		"10,000 headers":                 {strings.Repeat("Received: from a.example by b.example\n", 10_000) + good, true},
		"10,000 recipients' To":          {"Cc: " + strings.Repeat("bounce+a@b.example, ", 10_000) + "\n" + good, true},
		"10,000 groups":                  {string(report(strings.Repeat("Action: failed\nStatus: 5.1.1\n\n", 10_000))), true},
		"10,000 fields":                  {string(report("Action: failed\nStatus: 5.1.1\n" + strings.Repeat("X: y\n", 10_000))), true},
		"a field of 20,000 lines":        {string(report("Action: failed\nStatus: 5.1.1\nX: y\n" + strings.Repeat(" z\n", 20_000))), true},
		"10,000 parts, then the report":  {strings.Replace(good, "--4F1C22A0.1772442600/relay.shop.example\n", strings.Repeat("--4F1C22A0.1772442600/relay.shop.example\n\n\n", 10_000), 1), false},
		"a huge part before":             {strings.Replace(good, "The mail system", big, 1), true},
		"a huge part behind":             {strings.Replace(good, "X-Kairos-Attempt", big+"\nX-Kairos-Attempt", 1), true},
		"cut in the returned part":       {good[:strings.Index(good, "Message-ID")], true},
		"cut in the report":              {good[:strings.Index(good, "Diagnostic-Code")], true},
		"a huge content type":            {strings.Replace(good, "report-type=", "x="+big+"; report-type=", 1), false},
		"parts within parts":             {deep(3000, good), false},
		"many almost boundaries":         {strings.Replace(good, "The mail system", strings.Repeat("--4F1C22A0.1772442600/relay.shop.exampl\n", 15_000), 1), true},
		"NUL and bytes that are no text": {strings.Replace(good, "Recipient address", "\x00\xff\xfe Recipient", 1), true},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			n, ok := parseDSN([]byte(c.message))
			require.Equal(t, c.ok, ok)
			require.Less(t, time.Since(began), 5*time.Second)
			if !ok {
				return
			}
			v := n.verdict()
			require.Equal(t, "hard 5.1.1", v.class+" "+v.code)
			_, _ = n.attempt("")
			said := withoutAddresses(v.reason, n.mailboxes())
			require.LessOrEqual(t, len(said), 160)
			require.NotContains(t, said, "@")
			require.NotContains(t, said, "\x00")
		})
	}
}

func TestAttemptOfADSN(t *testing.T) {
	a, b := kairos.AttemptRef{Notification: kairos.NewID(), Number: 1}, kairos.AttemptRef{Notification: kairos.NewID(), Number: 3}
	path := func(r kairos.AttemptRef) string { return "bounce+" + r.String() + "@bounce.shop.example" }
	for name, c := range map[string]struct {
		to, header string
		want       kairos.AttemptRef
	}{
		"envelope":                      {path(a), "To: " + path(b), a},
		"envelope in brackets":          {"<" + strings.ToUpper(path(a)) + ">", "To: " + path(b), a},
		"delivered to":                  {"", "Delivered-To: " + path(a) + "\nTo: " + path(b), a},
		"the last hop's":                {"", "Delivered-To: " + path(a) + "\nDelivered-To: " + path(b), a},
		"forwarded":                     {"", "Delivered-To: admin@shop.example\nX-Original-To: " + path(a), a},
		"to among others":               {"", "To: x@y.example, \"B, C\" <" + path(a) + ">", a},
		"the envelope is the last word": {"postmaster@shop.example", "To: " + path(b), kairos.AttemptRef{}},
		"none":                          {"", "To: bounce+nothing@shop.example", kairos.AttemptRef{}},
		"number 0":                      {"", "To: bounce+" + a.Notification.String() + ".0@shop.example", kairos.AttemptRef{}},
	} {
		n, ok := parseDSN(append([]byte(c.header+"\n"), report("Action: failed\nStatus: 5.1.1")...))
		require.True(t, ok, name)
		got, ok := n.attempt(c.to)
		require.Equal(t, c.want, got, name)
		require.Equal(t, !c.want.Notification.IsZero(), ok, name)
	}
}

func TestXtext(t *testing.T) {
	require.Equal(t, "a+b@c.example", unXtext("a+2Bb@c.example"))
	require.Equal(t, "a+0Ab+7F+zz+2", unXtext("a+0Ab+7F+zz+2"))
}

func FuzzDSN(f *testing.F) {
	ref := kairos.AttemptRef{Notification: kairos.MustID("01936c3e-8a6f-7cc2-9f5e-2b1d0c3a4e5f"), Number: 2}
	for name := range letters {
		f.Add(letter(name, ref), "bounce+"+ref.String()+"@bounce.shop.example")
	}
	f.Add(report("Action: failed\nStatus: 5.1.1\nOriginal-Recipient: rfc822;a+2Bb@c.example"), "")
	f.Fuzz(func(t *testing.T, message []byte, to string) {
		n, ok := parseDSN(message)
		if !ok {
			return
		}
		v := n.verdict()
		require.Contains(t, []string{"", kairos.NotificationBounced, kairos.NotificationDeferred}, v.kind)
		if v.class == "hard" {
			require.Equal(t, kairos.NotificationBounced, v.kind)
			require.True(t, strings.HasPrefix(v.code, "5."))
		}
		require.LessOrEqual(t, len(v.code), 9)
		if ref, ok := n.attempt(to); ok {
			require.False(t, ref.Notification.IsZero())
		}
		said := withoutAddresses(v.reason, n.mailboxes())
		require.LessOrEqual(t, len(said), 160)
		require.NotContains(t, said, "@")
		for _, c := range said {
			require.True(t, c >= ' ' && c <= '~')
		}
		now := start.Add(time.Hour)
		at := n.at(&start, now)
		require.False(t, at.Before(start) || at.After(now))
	})
}
