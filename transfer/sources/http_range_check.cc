#include "transfer/sources/http_range_check.h"

#include "common/catalogue.h"
#include "transfer/sources/content_range.h"

namespace vmferry {

FileVersion version_of(const HttpResponse& response) {
  FileVersion version;
  if (const std::string* etag = response.header("etag")) version.etag = *etag;
  if (const std::string* time = response.header("last-modified")) version.last_modified = *time;
  return version;
}

Result<void> check_same_version(const HttpResponse& response, const FileVersion& version) {
  const FileVersion now = version_of(response);
  const auto changed = [](std::string_view what, const std::string& was, const std::string& is) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "the file changed on the server: {} {} became {}", what, was, is);
  };
  if (!version.etag.empty() && !now.etag.empty()) {
    if (now.etag != version.etag) return changed("ETag", version.etag, now.etag);
    if (version.has_strong_etag()) return {};
  }
  if (!version.last_modified.empty() && !now.last_modified.empty() &&
      now.last_modified != version.last_modified) {
    return changed("Last-Modified", version.last_modified, now.last_modified);
  }
  return {};
}

Result<void> check_partial_content(const HttpResponse& response, ByteRange wanted,
                                   std::uint64_t total, const FileVersion& version) {
  const auto lie = [](std::string text) {
    return Error(ErrorKind::DataLoss, code::kSourceProtocol, std::move(text));
  };
  const std::string* encoding = response.header("content-encoding");
  if (encoding != nullptr && *encoding != "identity") {
    return lie("the server encoded the bytes as " + *encoding);
  }
  const std::string* range_header = response.header("content-range");
  if (range_header == nullptr) return lie("the server answered 206 without Content-Range");
  const Result<ContentRange> range = parse_content_range(*range_header);
  if (!range) return lie(range.error().message());
  if (range->total && *range->total != total) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "the file has {} bytes now, it had {}", *range->total, total);
  }
  if (!range->satisfied || range->first != wanted.offset || range->last != wanted.end() - 1) {
    return lie(fmt::format("the server sent '{}' for bytes {}-{}", *range_header, wanted.offset,
                           wanted.end() - 1));
  }
  if (const std::string* length = response.header("content-length")) {
    if (parse_decimal(*length) != wanted.length) {
      return lie(
          fmt::format("the server announced {} bytes for a range of {}", *length, wanted.length));
    }
  }
  return check_same_version(response, version);
}

}  // namespace vmferry
