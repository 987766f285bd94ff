#pragma once

#include <string_view>

#include "common/http_client.h"
#include "common/result.h"
#include "common/secret.h"

// The answers of the engine's single sign-on (source-ovirt.md 1.2). Pure.
namespace vmferry::ovirt {

inline constexpr std::string_view kTokenPath = "/ovirt-engine/sso/oauth/token";
inline constexpr std::string_view kLogoutPath = "/ovirt-engine/services/sso-logout";

// The token of an answer to the password grant; an object or an array of one. Errors:
// PermissionDenied with VMF-SRC-AUTH when the body tells of an `error`, whatever the status;
// Unavailable for 5xx; InvalidArgument with VMF-SRC-PROTOCOL for anything else.
Result<SecretString> token_of(const HttpResponse& response, std::string_view username);

}  // namespace vmferry::ovirt
