#include "agent/mount_table.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "common/fd.h"

namespace vmferry {
namespace {

constexpr std::size_t kMaxTableBytes = 32u << 20;  // a node with 100 000 mounts

template <typename T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failure == std::errc() && end == text.data() + text.size() && !text.empty();
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (std::size_t from = 0; from < line.size();) {
    const std::size_t to = std::min(line.find(' ', from), line.size());
    if (to > from) words.push_back(line.substr(from, to - from));
    from = to + 1;
  }
  return words;
}

bool is_octal(char c) { return c >= '0' && c <= '7'; }

// Space, tab, newline and backslash stand as \ooo.
std::string unescaped(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
        is_octal(text[i + 3])) {
      result += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                  (text[i + 3] - '0'));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

std::optional<MountEntry> parse_line(std::string_view line) {
  // id parent major:minor root mount-point options [optional fields] - type source super-options
  const std::vector<std::string_view> words = words_of(line);
  const auto dash = std::find(words.begin(), words.end(), "-");
  if (words.size() < 7 || dash == words.end() || dash + 1 == words.end()) return std::nullopt;
  MountEntry entry;
  const std::size_t colon = words[2].find(':');
  if (colon == std::string_view::npos || !parse_number(words[0], entry.id) ||
      !parse_number(words[2].substr(0, colon), entry.device_major) ||
      !parse_number(words[2].substr(colon + 1), entry.device_minor)) {
    return std::nullopt;
  }
  entry.root = unescaped(words[3]);
  entry.mount_point = unescaped(words[4]);
  entry.type = std::string(*(dash + 1));
  return entry;
}

Result<std::uint64_t> mount_id_of(int fd) {
  const std::string path = "/proc/self/fdinfo/" + std::to_string(fd);
  const std::string info = TRY(read_file(path, 4096));
  constexpr std::string_view kKey = "mnt_id:";
  const std::size_t at = info.find(kKey);
  std::uint64_t id = 0;
  if (at != std::string::npos) {
    std::string_view rest = std::string_view(info).substr(at + kKey.size());
    rest = rest.substr(0, rest.find('\n'));
    while (!rest.empty() && (rest.front() == ' ' || rest.front() == '\t')) rest.remove_prefix(1);
    if (parse_number(rest, id)) return id;
  }
  return make_error(ErrorKind::Internal, "'{}' names no mount", path);
}

}  // namespace

std::vector<MountEntry> parse_mountinfo(std::string_view text) {
  std::vector<MountEntry> entries;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t to = std::min(text.find('\n', from), text.size());
    if (auto entry = parse_line(text.substr(from, to - from))) {
      entries.push_back(*std::move(entry));
    }
    from = to + 1;
  }
  return entries;
}

Result<std::vector<MountEntry>> read_mount_table() {
  return parse_mountinfo(TRY(read_file("/proc/self/mountinfo", kMaxTableBytes)));
}

Result<std::string> path_of(int fd) {
  char path[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = ::readlink(link.c_str(), path, sizeof path);
  if (length < 0) return errno_error(errno, "cannot read '" + link + "'");
  return std::string(path, static_cast<std::size_t>(length));
}

Result<std::optional<MountEntry>> mount_at(int fd, const std::vector<MountEntry>& table) {
  const std::uint64_t id = TRY(mount_id_of(fd));
  const std::string path = TRY(path_of(fd));
  for (const MountEntry& entry : table) {
    if (entry.id == id && entry.mount_point == path) return std::optional(entry);
  }
  return std::optional<MountEntry>();
}

}  // namespace vmferry
