#include "coordinator/kube/rest/status_error.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/catalogue.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;

TEST(StatusErrorTest, ReadsWhatTheServerMeans) {
  const struct {
    const char* name;
    int status;
    const char* reason;
    const char* message;
    ErrorKind kind;
    std::string_view code;
  } cases[] = {
      {"bad request", 400, "BadRequest", "unable to parse", ErrorKind::InvalidArgument, ""},
      {"webhook", 400, "", "admission webhook \"vm.kubevirt.io\" denied the request: no cores",
       ErrorKind::InvalidArgument, code::kWebhook},
      {"token expired", 401, "Unauthorized", "Unauthorized", ErrorKind::PermissionDenied,
       code::kClusterCredentials},
      {"forbidden", 403, "Forbidden", "pods is forbidden: User \"x\" cannot list",
       ErrorKind::PermissionDenied, code::kForbidden},
      {"quota", 403, "Forbidden",
       "persistentvolumeclaims \"a\" is forbidden: exceeded quota: q, requested: 1",
       ErrorKind::ResourceExhausted, code::kQuota},
      {"webhook that forbids", 403, "Forbidden", "admission webhook \"x\" denied the request: no",
       ErrorKind::PermissionDenied, code::kWebhook},
      {"policy", 422, "Invalid",
       "pods \"h\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
       ErrorKind::PermissionDenied, code::kWebhook},
      {"policy that forbids", 403, "Forbidden",
       "pods \"h\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
       ErrorKind::PermissionDenied, code::kWebhook},
      {"no such kind", 404, "NotFound", "the server could not find the requested resource",
       ErrorKind::NotFound, code::kApiMissing},
      {"pod security", 403, "Forbidden",
       "pods \"h\" is forbidden: violates PodSecurity \"restricted:latest\"",
       ErrorKind::PermissionDenied, code::kPodSecurity},
      {"not found", 404, "NotFound", "pods \"x\" not found", ErrorKind::NotFound, ""},
      {"method", 405, "MethodNotAllowed", "no", ErrorKind::Unimplemented, ""},
      {"exists", 409, "AlreadyExists", "pods \"x\" already exists", ErrorKind::AlreadyExists, ""},
      {"conflict", 409, "Conflict", "Operation cannot be fulfilled", ErrorKind::Aborted, ""},
      {"too old", 410, "Expired", "too old resource version", ErrorKind::Aborted, ""},
      {"too large", 413, "RequestEntityTooLarge", "limit is 3145728", ErrorKind::InvalidArgument,
       ""},
      {"invalid", 422, "Invalid", "spec: Required value", ErrorKind::InvalidArgument,
       code::kManifest},
      {"throttled", 429, "TooManyRequests", "slow down", ErrorKind::Unavailable, ""},
      {"internal", 500, "InternalError", "etcd is away", ErrorKind::Unavailable, ""},
      {"webhook away", 500, "InternalError",
       "Internal error occurred: failed calling webhook \"x\": timeout", ErrorKind::Unavailable,
       code::kWebhook},
      {"timeout", 504, "Timeout", "request did not complete", ErrorKind::DeadlineExceeded, ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const json body{{"kind", "Status"}, {"message", c.message}, {"reason", c.reason}};
    const Error error = error_of_status(c.status, body.dump(), "GET /x");
    EXPECT_EQ(error.kind(), c.kind);
    EXPECT_EQ(error.code(), c.code);
    EXPECT_EQ(error.message(), c.message);
    if (!c.code.empty()) {
      EXPECT_TRUE(find_catalogue_entry(c.code).has_value());
    }
  }
}

TEST(StatusErrorTest, TellsTheRequestWhenTheBodyIsNoStatus) {
  const Error error = error_of_status(404, "404 page\nnot found\n", "GET /apis/x");
  EXPECT_EQ(error.kind(), ErrorKind::NotFound);
  EXPECT_EQ(error.message(), "GET /apis/x: the API server answered 404: 404 page not found");
  EXPECT_EQ(error_of_status(404, "404 page not found\n", "POST /apis/x").code(), code::kApiMissing);
  for (const char* body : {"", "{}", "[]", "null", "{\"kind\":\"Status\",\"message\":7}"}) {
    EXPECT_EQ(error_of_status(503, body, "GET /x").kind(), ErrorKind::Unavailable) << body;
  }
}

TEST(StatusErrorTest, BoundsTheText) {
  const json body{{"kind", "Status"}, {"message", std::string(100'000, 'x')}};
  EXPECT_EQ(error_of_status(400, body.dump(), "").message().size(), 4096U);
}

TEST(StatusErrorTest, ReadsTheDelay) {
  EXPECT_EQ(retry_after_seconds(json{{"details", {{"retryAfterSeconds", 7}}}}), 7);
  EXPECT_EQ(retry_after_seconds(json{{"details", {{"retryAfterSeconds", -7}}}}), 0);
  EXPECT_EQ(retry_after_seconds(json{{"details", {{"retryAfterSeconds", "7"}}}}), 0);
  EXPECT_EQ(retry_after_seconds(json()), 0);
}

}  // namespace
}  // namespace vmferry::kube
