#pragma once

#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "common/error.h"

namespace vmferry::kube {

// A refusal of the API server as an Error: kind and code by HTTP status, the Status object's reason
// and, for quotas and webhooks, its message; the text is the server's (at most 4 KiB of it).
//
//   400 InvalidArgument   401, 403 PermissionDenied    404 NotFound     405, 406, 415 Unimplemented
//   409 AlreadyExists by reason, else Aborted          410 Aborted      413, 422 InvalidArgument
//   403 of a quota ResourceExhausted                   429 Unavailable  504 DeadlineExceeded
//   5xx Unavailable
//
// `request` ("GET /apis/...") is told when the body is no Status.
Error error_of_status(int http_status, std::string_view body, std::string_view request);

// The same of a Status object that came as an event of a watch.
Error error_of_status(const nlohmann::json& status);

// How long the server asks to be left alone, in seconds, by Status details; 0: it does not say.
int retry_after_seconds(const nlohmann::json& status);

}  // namespace vmferry::kube
