#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pugixml.hpp>

#include "common/error.h"
#include "common/result.h"

// The vSphere Web Services dialect of SOAP (source-vmware.md 1.1, 1.2, 1.4): requests as small
// trees whose children leave in schema order, responses matched by local name.
namespace vmferry::vmware {

// A managed object reference: ("VirtualMachine", "vm-42").
struct MoRef {
  std::string type;
  std::string value;
  bool empty() const { return value.empty(); }
  friend auto operator<=>(const MoRef&, const MoRef&) = default;
};

// One element of a request. Children may be added in any order: real servers refuse any order but
// the schema's, so the writer takes it from one table (soap.cc), by `schema`.
struct Node {
  std::string name;
  std::string schema;  // a type or method of the table; empty: a leaf holding `text`
  std::string text;
  std::string moref_type;  // "type" attribute of a managed object reference
  bool abstract = false;   // the parameter's declared type is abstract: write xsi:type
  std::vector<Node> children;

  Node& add(Node child) {
    children.push_back(std::move(child));
    return *this;
  }
};
Node leaf(std::string name, std::string text);
Node flag(std::string name, bool value);  // no overload: text literals would convert to bool
Node reference(std::string name, const MoRef& object);
Node structure(std::string name, std::string schema);  // of exactly the declared type
Node concrete(std::string name, std::string schema);   // of a type derived from the declared one
Node method_call(std::string method, const MoRef& object);

// The whole envelope. A child that the table does not know is a mistake of ours and stops.
std::string write_envelope(const Node& request);

// Reading: the local name of an element, its children, and the two meanings of "type".
std::string_view local_name(std::string_view qualified);
pugi::xml_node child(pugi::xml_node node, std::string_view name);
pugi::xml_node descend(pugi::xml_node node, std::initializer_list<std::string_view> path);
std::vector<pugi::xml_node> children(pugi::xml_node node, std::string_view name);
// xsi:type without prefix, whatever prefix the server declared; empty when absent.
std::string xsi_type(pugi::xml_node node);
// What a moref element refers to: its unprefixed "type" attribute and its text.
MoRef moref_of(pugi::xml_node node);
std::string text_of(pugi::xml_node node);
std::string child_text(pugi::xml_node node, std::string_view name);
std::optional<bool> boolean_of(pugi::xml_node node);
std::optional<std::int64_t> integer_of(pugi::xml_node node);

// A fault as the server sent it.
struct SoapFault {
  std::string type;            // "InvalidPowerState"
  std::string message;         // may be empty
  std::string existing_state;  // InvalidPowerState: the state it is in
  std::string property;        // InvalidProperty: the path it does not know
};

// What to do about a fault (source-vmware.md 1.4).
enum class FaultClass { Relogin, Permanent, Gone, Retry, State, Quiesce, File };

struct FaultRule {
  std::string_view type;
  FaultClass fault_class;
  ErrorKind kind;
  std::string_view code;
};
// The rule of a fault type; unknown ones are permanent, kind Internal.
FaultRule fault_rule(std::string_view type);
// "PowerOnVM_Task on vm-42: InvalidPowerState: text", kind and code by the table.
Error fault_error(const SoapFault& fault, std::string_view method, std::string_view object);

// A parsed response; nodes live as long as it does. Movable, cheap to share.
class SoapReply {
 public:
  // InvalidArgument for what is no SOAP envelope, holds a DOCTYPE, or is empty.
  static Result<SoapReply> parse(std::string body);

  const std::optional<SoapFault>& fault() const { return fault_; }
  // The response element, `XResponse`; and its `returnval`s.
  pugi::xml_node response() const { return response_; }
  pugi::xml_node returnval() const { return child(response_, "returnval"); }
  std::vector<pugi::xml_node> returnvals() const { return children(response_, "returnval"); }
  std::shared_ptr<const void> storage() const { return storage_; }

 private:
  struct Storage;
  std::shared_ptr<const void> storage_;
  pugi::xml_node response_;
  std::optional<SoapFault> fault_;
};

}  // namespace vmferry::vmware
