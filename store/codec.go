package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/fxamacker/cbor/v2"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"lacre"
)

// A stored value is one format byte, the CRC-32C of key, format and payload (four bytes,
// big-endian), then the payload: deterministic CBOR (RFC 8949, core profile) of the
// structs in shapes.go, or the bare bytes of a secret. Many audit rows in one value have a
// format byte of their own: who expects one row does not take them for it.
//
// The key is part of the sum so that a value that turns up under another key is noticed.
// The sum is against accidents; secrecy and authenticity of keys are the Sealer's work.
const (
	format     = 1
	packFormat = 2 // of auditPackShape
	headerSize = 5
)

var (
	errTorn     = errors.New("value is shorter than its header")
	errChecksum = errors.New("checksum does not match")
)

// castagnoli, encoding, decoding and passing never change after the program has started.
var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	encoding   = mustEncode()
	decoding   = mustDecode(cbor.ExtraDecErrorUnknownField)
	passing    = mustDecode(cbor.ExtraDecErrorNone) // passes over fields that it is not asked for
)

// mustEncode sets the core deterministic encoding, so that equal records have equal bytes,
// and times as text in UTC with nanoseconds.
func mustEncode() cbor.EncMode {
	options := cbor.CoreDetEncOptions()
	options.Time = cbor.TimeRFC3339NanoUTC
	mode, err := options.EncMode()
	if err != nil {
		panic(err) // the options are constants: only a programming error gets here
	}
	return mode
}

// mustDecode sets the limits of what a damaged or hostile value can make us allocate,
// and what to do about unknown fields. Whoever writes a record again refuses them: a field
// we do not know would be lost.
func mustDecode(unknown cbor.ExtraDecErrorCond) cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: unknown,
		MaxNestedLevels:   8,
		MaxArrayElements:  1 << 16,
		MaxMapPairs:       1 << 16,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return mode
}

func sum(key string, form byte, payload []byte) uint32 {
	crc := crc32.Update(0, castagnoli, []byte(key))
	crc = crc32.Update(crc, castagnoli, []byte{form})
	return crc32.Update(crc, castagnoli, payload)
}

// frame makes the value to store under key.
func frame(key string, payload []byte) string { return frameAs(format, key, payload) }

func frameAs(form byte, key string, payload []byte) string {
	value := make([]byte, headerSize, headerSize+len(payload))
	value[0] = form
	binary.BigEndian.PutUint32(value[1:], sum(key, form, payload))
	return string(append(value, payload...))
}

// unframe checks a value found under key and returns its payload.
func unframe(key string, value []byte) ([]byte, error) { return unframeAs(format, key, value) }

func unframeAs(form byte, key string, value []byte) ([]byte, error) {
	if len(value) < headerSize {
		return nil, errTorn
	}
	if value[0] != form {
		return nil, fmt.Errorf("value has format %d, this program reads format %d here", value[0], form)
	}
	payload := value[headerSize:]
	if binary.BigEndian.Uint32(value[1:]) != sum(key, form, payload) {
		return nil, errChecksum
	}
	return payload, nil
}

// encode returns key and value of a record.
func encode(r lacre.Record) (key, value string, err error) {
	if key, err = keyOf(r); err != nil {
		return "", "", err
	}
	payload, err := encoding.Marshal(pack(r))
	if err != nil {
		return "", "", fmt.Errorf("encoding %s: %w", key, err)
	}
	return key, frame(key, payload), nil
}

// decode reads a record. The error is *lacre.UnreadableError; its Record is nil when
// not even the key makes sense.
func decode(kv *mvccpb.KeyValue) (lacre.Record, *lacre.UnreadableError) {
	key := string(kv.Key)
	record := identify(key)
	if record == nil {
		return nil, &lacre.UnreadableError{Key: key, Err: ErrBadIdentity}
	}
	payload, err := unframe(key, kv.Value)
	if err == nil {
		err = unpack(record, payload, kv.ModRevision)
	}
	if err != nil {
		return nil, &lacre.UnreadableError{Record: identify(key), Key: key, Err: err}
	}
	return record, nil
}

// certificateHead is the part of certificateShape that a bulk reading looks at.
type certificateHead struct {
	Scope      lacre.Scope `cbor:"2,keyasint"`
	InstanceID string      `cbor:"3,keyasint"`
	Version    int         `cbor:"6,keyasint"`
	Bound      int         `cbor:"9,keyasint"`
}

// decodeHead reads those parts of a certificate, which is much less work than all of it.
// It is nil when the key is not a certificate's. The checksum covers what is passed over.
func decodeHead(kv *mvccpb.KeyValue) (*lacre.Certificate, *lacre.UnreadableError) {
	key := string(kv.Key)
	c, ok := identify(key).(*lacre.Certificate)
	if !ok {
		return nil, nil
	}
	var head certificateHead
	payload, err := unframe(key, kv.Value)
	if err == nil {
		err = passing.Unmarshal(payload, &head)
	}
	if err != nil {
		return c, &lacre.UnreadableError{Record: identify(key), Key: key, Err: err}
	}
	c.Scope, c.InstanceID, c.Version, c.Bound = head.Scope, head.InstanceID, head.Version, head.Bound
	return c, nil
}
