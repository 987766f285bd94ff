#include "transfer/sources/http_range_check.h"

#include "common/catalogue.h"
#include "transfer/sources/content_range.h"

namespace vmferry {

std::string strong_etag(const HttpResponse& response) {
  const std::string* etag = response.header("etag");
  return etag == nullptr || etag->starts_with("W/") ? std::string() : *etag;
}

Result<void> check_partial_content(const HttpResponse& response, ByteRange wanted,
                                   std::uint64_t total, const std::string& etag) {
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
  const std::string now = strong_etag(response);
  if (!etag.empty() && !now.empty() && now != etag) {
    return coded_error(ErrorKind::DataLoss, code::kSourceChanged,
                       "the file changed on the server: ETag {} became {}", etag, now);
  }
  return {};
}

}  // namespace vmferry
