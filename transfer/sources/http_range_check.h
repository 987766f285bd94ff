#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/extent.h"
#include "common/http_client.h"
#include "common/result.h"

namespace vmferry {

// Whether the headers of a 206 promise exactly `wanted` of a file of `total` bytes: one
// Content-Range, a matching Content-Length, no encoding, the same ETag (when `etag` is not empty).
// Errors: DataLoss with VMF-SRC-CHANGED when total or ETag differ, with VMF-SRC-PROTOCOL else.
Result<void> check_partial_content(const HttpResponse& response, ByteRange wanted,
                                   std::uint64_t total, const std::string& etag);

// The strong ETag of a response, else "".
std::string strong_etag(const HttpResponse& response);

}  // namespace vmferry
