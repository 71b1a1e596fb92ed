// Package openapi holds the OpenAPI 3.1 documents of the local and the admin listener. A test compares them with the routes.
package openapi

import _ "embed"

// Local describes the local listener, in JSON.
//
//go:embed local.json
var Local []byte

// Admin describes the admin listener, in JSON.
//
//go:embed admin.json
var Admin []byte
