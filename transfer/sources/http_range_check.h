#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/extent.h"
#include "common/http_client.h"
#include "common/result.h"

namespace vmferry {

// Which state of a file a response is about. Empty: the server does not tell.
struct FileVersion {
  std::string etag;
  std::string last_modified;

  // Equal ones of the other kind, W/"...", do not mean equal bytes.
  bool has_strong_etag() const { return !etag.empty() && !etag.starts_with("W/"); }
};
FileVersion version_of(const HttpResponse& response);

// DataLoss with VMF-SRC-CHANGED when the response is about another state of the file than
// `version`: by the ETags if both have one, and by the times of change unless an ETag says that it
// is the same.
Result<void> check_same_version(const HttpResponse& response, const FileVersion& version);

// Whether the headers of a 206 promise exactly `wanted` of a file of `total` bytes: one
// Content-Range, a matching Content-Length, no encoding, the same version.
// Errors: DataLoss with VMF-SRC-CHANGED when total or version differ, with VMF-SRC-PROTOCOL else.
Result<void> check_partial_content(const HttpResponse& response, ByteRange wanted,
                                   std::uint64_t total, const FileVersion& version);

}  // namespace vmferry
