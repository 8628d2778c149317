package keypair

import (
	"encoding/base64"
	"strings"
)

// block is one PEM block (RFC 7468).
type block struct {
	kind kind
	// trusted tells that OpenSSL's trust settings follow the certificate in der.
	trusted bool
	der     []byte // nil when an RFC 1421 header says that the body is encrypted
}

// readBlocks finds the PEM blocks in text.
//
// Whatever stands around and between them is skipped: quotes, a byte-order mark, bag
// attributes. Line breaks may be CRLF, the two characters \n, spaces, or lost, which is
// unambiguous since neither dashes, blanks nor backslashes are base64. A damaged block
// is refused; encoding/pem would pass over it in silence and look for line breaks.
func readBlocks(field, text string) ([]block, error) {
	return readBlocksUpTo(maxText, maxBlocks, field, text)
}

// readBlocksUpTo is readBlocks with other bounds on the length of text and the number of blocks.
func readBlocksUpTo(bytes, most int, field, text string) ([]block, error) {
	if len(text) > bytes {
		return nil, refuse(Invalid, field, "the text is %d bytes long, more than %d", len(text), bytes)
	}
	if strings.Contains(text, `\`) {
		text = strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(text)
	}
	var blocks []block
	for {
		_, after, found := strings.Cut(text, "-----BEGIN ")
		if !found {
			return blocks, nil
		}
		if len(blocks) == most {
			return nil, refuse(Invalid, field, "there are more than %d PEM blocks", most)
		}
		b, rest, fault := readBlock(after)
		if fault != "" {
			return nil, refuse(Invalid, field, "PEM block %d %s", len(blocks)+1, fault)
		}
		blocks, text = append(blocks, b), rest
	}
}

// readBlock reads the block whose label text starts with and returns what follows it.
// Every byte is looked at once. A fault is told in words that quote nothing of text.
func readBlock(text string) (b block, rest, fault string) {
	label, text, labelled := strings.Cut(text, "-----")
	body, text, closed := strings.Cut(text, "-----")
	rest, ended := strings.CutPrefix(text, "END "+label+"-----")
	if !labelled || !closed || !ended {
		return b, "", "has no END line that matches its BEGIN line: it is cut short or damaged"
	}
	b = block{kind: kindOf(label), trusted: label == "TRUSTED CERTIFICATE"}
	body, encrypted := cutHeaders(body)
	if encrypted { // whatever the label says; the body is ciphertext
		b.kind = kindEncryptedKey
		return b, rest, ""
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(body), ""))
	if err != nil {
		return b, "", "is damaged: its content is not base64"
	}
	b.der = der
	return b, rest, ""
}

// cutHeaders drops the RFC 1421 headers that legacy OpenSSL keys start with, and tells
// whether they say that the body is encrypted.
func cutHeaders(body string) (rest string, encrypted bool) {
	if !strings.Contains(body, ":") {
		return body, false
	}
	rest = strings.TrimLeft(body, "\r\n")
	for {
		line, after, more := strings.Cut(rest, "\n")
		if !strings.Contains(line, ":") || !more {
			return rest, strings.Contains(body, "ENCRYPTED")
		}
		rest = after
	}
}
