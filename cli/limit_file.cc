#include "cli/limit_file.h"

#include <ostream>
#include <utility>

#include "common/bytes.h"
#include "common/fd.h"

namespace vmferry::cli {
namespace {

constexpr std::chrono::milliseconds kEvery{300};
constexpr std::uint64_t kMaxBytes = 64;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

}  // namespace

Result<std::uint64_t> LimitFile::first(Context& context, const std::string& path) {
  Result<std::uint64_t> rate = read(path);
  if (rate || rate.error().kind() != ErrorKind::Unavailable) return rate;
  context.err << "note: " + rate.error().message() + ": no limit until it says one\n";
  return std::uint64_t{0};
}

Result<std::uint64_t> LimitFile::read(const std::string& path) {
  const std::string text = TRY(read_file(path, kMaxBytes));
  const std::string_view rate = trimmed(text);
  if (rate == "off") return std::uint64_t{0};
  // A shell empties a file before it writes into it.
  if (rate.empty()) return make_error(ErrorKind::Unavailable, "limit file '{}' is empty", path);
  Result<std::uint64_t> bytes = parse_size(rate);
  if (!bytes) return std::move(bytes).error().with_context("limit file '" + path + "'");
  return bytes;
}

LimitFile::LimitFile(Context& context, std::string path, Throttle& throttle)
    : context_(context),
      path_(std::move(path)),
      throttle_(throttle),
      thread_([this](std::stop_token ending) { follow(std::move(ending)); }) {}

void LimitFile::follow(std::stop_token ending) {
  std::string told;
  while (context_.clock.sleep(kEvery, ending)) {
    const Result<std::uint64_t> rate = read(path_);
    const std::string trouble = rate ? "" : rate.error().message();
    if (rate && *rate != throttle_.rate()) throttle_.set_rate(*rate);
    if (!rate && trouble != told) {
      context_.err << "note: the limit stays as it is: " + trouble + "\n" << std::flush;
    }
    told = trouble;
  }
}

}  // namespace vmferry::cli
