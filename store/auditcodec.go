package store

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// packInflated bounds what a pack can make us allocate: its payloads with their keys.
const packInflated = packBytes + packRows*64

var errPack = errors.New("the rows of a pack are not those of its key, or not in order")

// packed makes the value of many rows, newest first, to store at the key of the first.
func packed(key string, rows []auditRow) (string, error) {
	shapes := make([]packedRowShape, len(rows))
	for i, row := range rows {
		digits, err := hex.DecodeString(row.digits)
		if err != nil {
			return "", fmt.Errorf("packing %s: %w", row.digits, err)
		}
		shapes[i] = packedRowShape{digits, row.payload}
	}
	plain, err := encoding.Marshal(shapes)
	if err != nil {
		return "", fmt.Errorf("encoding a pack: %w", err)
	}
	var small bytes.Buffer
	w, _ := flate.NewWriter(&small, flate.DefaultCompression) // the level is a constant
	w.Write(plain)                                            // to memory: neither can fail
	w.Close()
	payload, err := encoding.Marshal(auditPackShape{shapes[len(shapes)-1].Key, small.Bytes()})
	return frameAs(packFormat, key, payload), err
}

// rowsOf are the rows of the value under a key, newest first. Those of a pack that are all
// newer than after may be left out.
func rowsOf(prefix, after string, kv *mvccpb.KeyValue) ([]auditRow, error) {
	if !isPack(kv) {
		row, err := singleRow(prefix, kv)
		return []auditRow{row}, err
	}
	key := string(kv.Key)
	payload, err := unframeAs(packFormat, key, kv.Value)
	if err != nil {
		return nil, err
	}
	var pack auditPackShape
	if err := decoding.Unmarshal(payload, &pack); err != nil {
		return nil, err
	}
	if hex.EncodeToString(pack.Oldest) <= after {
		return nil, nil
	}
	return inflated(key[len(prefix):], pack.Rows)
}

// inflated are the rows of a pack at the key with those digits.
func inflated(digits string, deflated []byte) ([]auditRow, error) {
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(deflated)), packInflated))
	if err != nil {
		return nil, fmt.Errorf("inflating a pack: %w", err)
	}
	var shapes []packedRowShape
	if err := decoding.Unmarshal(plain, &shapes); err != nil {
		return nil, err
	}
	rows := make([]auditRow, len(shapes))
	for i, shape := range shapes {
		rows[i] = auditRow{hex.EncodeToString(shape.Key), shape.Payload}
		if i == 0 && rows[i].digits != digits || i > 0 && rows[i].digits <= rows[i-1].digits {
			return nil, errPack
		}
	}
	return rows, nil
}
