#pragma once

#include <string>
#include <string_view>

#include "common/result.h"

namespace vmferry {

// How a TLS peer is trusted. There is no way to trust anybody.
// With a thumbprint, exactly the leaf certificate with that digest is accepted, whatever its name
// or issuer (20 bytes: SHA-1, 32 bytes: SHA-256 of the DER). Else the chain must lead to `ca_pem`,
// or to the system's store when that is empty, and the name must match. `system_too` accepts the
// system's store beside `ca_pem`: an oVirt engine may have a public certificate while its hosts
// have ones of an authority of its own.
struct TlsTrust {
  std::string ca_pem;
  std::string thumbprint;  // "AA:BB:..", upper case, normalised by parse_thumbprint
  bool system_too = false;

  friend bool operator==(const TlsTrust&, const TlsTrust&) = default;
};

// Any case, with or without colons; 40 or 64 hex digits. InvalidArgument else.
Result<std::string> parse_thumbprint(std::string_view text);

// PEM text, or base64 of PEM or of DER (decided by the absence of "-----BEGIN"), checked to hold at
// least one certificate; returned as PEM. InvalidArgument else. Rule: api.md DECISION-A4.
Result<std::string> parse_ca_certificates(std::string_view text);

}  // namespace vmferry
