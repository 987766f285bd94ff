// The parts of HttpSession that ask about a file before it is read.
#include <algorithm>
#include <optional>
#include <utility>

#include "common/catalogue.h"
#include "transfer/sources/content_range.h"
#include "transfer/sources/http_session.h"

namespace vmferry {
namespace {

HttpSession::Question first_byte_question() {
  HttpSession::Question question{.path_suffix = {}, .accepted = {}};
  question.first_byte = true;
  return question;
}

std::optional<std::uint64_t> content_length(const HttpResponse& response) {
  const std::string* length = response.header("content-length");
  return length == nullptr ? std::nullopt : parse_decimal(*length);
}

// By the answer to a GET of the first byte: of a part (206), of a file without one (416), or, from
// a server without ranges, of the whole file (200).
Result<std::uint64_t> file_size_of(const HttpResponse& response) {
  std::optional<std::uint64_t> size;
  if (response.status == 200) {
    size = content_length(response);
  } else if (response.status == 206 || response.status == 416) {
    if (const std::string* header = response.header("content-range")) {
      const Result<ContentRange> range = parse_content_range(*header);
      if (range) size = range->total;
    }
  } else {
    return coded_error(ErrorKind::DataLoss, code::kSourceProtocol,
                       "the server answered a ranged GET with HTTP {}", response.status);
  }
  if (size) return *size;
  return coded_error(ErrorKind::DataLoss, code::kSourceProtocol,
                     "the server does not tell the size of the file");
}

}  // namespace

// On a connection that the answer leaves in the middle, the next one would begin with its rest.
Result<HttpResponse> HttpSession::ask_first_byte(HttpPool::Lease& client, HttpRequest request,
                                                 std::stop_token stop) {
  request.headers.emplace_back("Range", "bytes=0-0");
  HttpResponse answer;
  HttpSink sink;
  sink.on_headers = [&](const HttpResponse& response) {
    answer = response;
    return response.status != 200;
  };
  sink.on_body = [&](std::span<const std::byte> bytes) {
    const std::size_t room = (answer.status == 206 ? 1 : kErrorBodyBytes) - answer.body.size();
    answer.body.append(reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), room));
    return bytes.size() <= room;
  };
  Result<HttpResponse> response = client->stream(request, sink, stop);
  if (!response) {
    client.discard();
    if (answer.status == 0 || stop.stop_requested()) return response;
  }
  return answer;
}

Result<bool> HttpSession::stat_by_head(HttpFile& file, std::stop_token stop) {
  Question question{.path_suffix = {}, .accepted = {400, 403, 405, 501}};
  question.method = "HEAD";
  const HttpResponse head = TRY(ask(file, question, std::move(stop)));
  const std::optional<std::uint64_t> size = content_length(head);
  if (head.status != 200 || !size) return false;
  file.size_bytes = *size;
  file.version = version_of(head);
  return true;
}

Result<void> HttpSession::stat(HttpFile& file, bool try_head, std::stop_token stop) {
  if (try_head && TRY(stat_by_head(file, stop))) return {};
  Question question = first_byte_question();
  question.accepted = {416};
  const HttpResponse first = TRY(ask(file, question, std::move(stop)));
  file.size_bytes = TRY(file_size_of(first));
  file.version = version_of(first);
  return {};
}

Result<bool> HttpSession::has_ranges(const HttpFile& file, std::stop_token stop) {
  constexpr int kTries = 2;
  for (int i = 0; i < kTries; ++i) {
    const EndpointKeeper::Current current = keeper_.current();
    const Result<HttpResponse> response =
        ask_once(file, first_byte_question(), *current.endpoint, stop);
    if (stop.stop_requested()) return Error(ErrorKind::Canceled, "opening was canceled");
    if (response) return response->status != 200;
  }
  return true;  // any other trouble is the business of the first read, which knows what to do
}

}  // namespace vmferry
