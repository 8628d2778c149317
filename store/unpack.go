package store

import (
	"lacre"
	"lacre/keypair"
)

// read decodes a payload into its shape and hands it on.
func read[T any](payload []byte, fill func(T)) error {
	var shape T
	if err := decoding.Unmarshal(payload, &shape); err != nil {
		return err
	}
	fill(shape)
	return nil
}

// unpack fills a record, whose identifying fields are already set, from its payload.
func unpack(r lacre.Record, payload []byte, revision int64) error {
	switch r := r.(type) {
	case *lacre.Project:
		return read(payload, func(p projectShape) {
			r.Name, r.AccountID, r.AccountName = p.Name, p.AccountID, p.AccountName
			r.Created, r.Revision = p.Created, revision
		})
	case *lacre.Instance:
		return read(payload, func(p instanceShape) {
			r.Name, r.Closing, r.Created, r.Revision = p.Name, p.Closing, p.Created, revision
		})
	case *lacre.Group:
		return read(payload, func(p groupShape) {
			r.InstanceID, r.Name, r.Remark = p.InstanceID, p.Name, p.Remark
			r.SubdomainAccess, r.DomainIDs = p.SubdomainAccess, p.DomainIDs
			r.Created, r.Updated, r.Revision = p.Created, p.Updated, revision
		})
	case *lacre.Domain:
		return read(payload, func(p domainShape) { unpackDomain(r, p, revision) })
	case *lacre.Certificate:
		return read(payload, func(p certificateShape) { unpackCertificate(r, p, revision) })
	case *lacre.Version:
		return read(payload, func(p versionShape) {
			r.Facts, r.Chain, r.SealedKey, r.TrustRoots = keypair.Facts(p.Facts), p.Chain, p.SealedKey, p.TrustRoots
			r.SignChain, r.SealedSignKey = p.SignChain, p.SealedSignKey
			r.OCSPStaple, r.OCSPNextUpdate, r.Epoch = p.OCSPStaple, p.OCSPNextUpdate, p.Epoch
			r.Created, r.Revision = p.Created, revision
		})
	case *lacre.Revocations:
		return read(payload, func(p revocationsShape) {
			r.Lists = make([]lacre.RevocationList, len(p.Lists))
			for i, l := range p.Lists {
				r.Lists[i] = lacre.RevocationList(l)
			}
			r.Updated, r.Revision = p.Updated, revision
		})
	case *lacre.User:
		return read(payload, func(p userShape) { unpackUser(r, p, revision) })
	case *lacre.AccessKey:
		return read(payload, func(p accessKeyShape) {
			r.UserID, r.SealedSecret, r.Description = p.UserID, p.SealedSecret, p.Description
			r.Disabled, r.Created, r.Revision = p.Disabled, p.Created, revision
		})
	case *lacre.PermissionGroup:
		return read(payload, func(p permissionGroupShape) {
			r.Permissions, r.Created, r.Revision = p.Permissions, p.Created, revision
		})
	case *lacre.Bound:
		return read(payload, func(p boundShape) { r.Host, r.Revision = p.Host, revision })
	}
	return read(payload, func(p claimShape) { setHolder(r, p.Holder, revision) })
}

func unpackDomain(d *lacre.Domain, p domainShape, revision int64) {
	d.InstanceID, d.GroupID, d.Name, d.Host = p.InstanceID, p.GroupID, p.Name, p.Host
	d.MinTLS, d.RedirectHTTPS, d.VerifyClient = p.MinTLS, p.RedirectHTTPS, p.VerifyClient
	d.HTTPPort, d.HTTPSPort, d.Upstream = p.HTTPPort, p.HTTPSPort, p.Upstream
	d.HSTS, d.Created, d.Updated, d.Revision = p.HSTS, p.Created, p.Updated, revision
	if p.Bindings != nil {
		d.Bindings = make([]lacre.Binding, len(p.Bindings))
	}
	for i, b := range p.Bindings {
		d.Bindings[i] = lacre.Binding(b)
	}
}

func unpackCertificate(c *lacre.Certificate, p certificateShape, revision int64) {
	c.Name, c.Scope, c.InstanceID = p.Name, p.Scope, p.InstanceID
	c.Facts, c.HasTrustRoot, c.OCSPNextUpdate = keypair.Facts(p.Facts), p.HasTrustRoot, p.OCSPNextUpdate
	c.Version, c.Oldest, c.Generation, c.Bound = p.Version, p.Oldest, p.Generation, p.Bound
	c.Created, c.Updated, c.Revision = p.Created, p.Updated, revision
}

func unpackUser(u *lacre.User, p userShape, revision int64) {
	u.AccountID, u.AccountName, u.Name = p.AccountID, p.AccountName, p.Name
	u.PasswordHash, u.Roles, u.Disabled = p.PasswordHash, p.Roles, p.Disabled
	u.Epoch, u.Created, u.Administrator, u.Revision = p.Epoch, p.Created, p.Admin, revision
}

// setHolder is the inverse of holder.
func setHolder(r lacre.Record, id string, revision int64) {
	switch r := r.(type) {
	case *lacre.ProjectName:
		r.ProjectID, r.Revision = id, revision
	case *lacre.InstanceName:
		r.InstanceID, r.Revision = id, revision
	case *lacre.GroupName:
		r.GroupID, r.Revision = id, revision
	case *lacre.Host:
		r.DomainID, r.Revision = id, revision
	case *lacre.CertificateName:
		r.CertificateID, r.Revision = id, revision
	case *lacre.UserName:
		r.UserID, r.Revision = id, revision
	}
}
