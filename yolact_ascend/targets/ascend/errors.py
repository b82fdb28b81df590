"""What the error codes of atc and of the card's runtime mean for a run, and what to do: the tables.

The codes and what they stand for are public: the pages of Ascend/ge (`docs/en/user_guides/error_codes`, August 2026)
and of Ascend/runtime (`docs/en/error_code_ref`, `error_manager/error_code.json`, `rt_error_codes.h`), and for releases
before CANN 8.5 CANN's documents and users' captures. `explain` finds them in the tools' output.
"""

from __future__ import annotations

from yolact_ascend.targets.ascend.installation import CARD_GUIDE, UNKNOWN, release_of

# Of the Python that CANN's operator compiler runs in: what it imports, as modules, and what installs them.
COMPILER_MODULES = ("decorator", "attr", "absl", "psutil", "google.protobuf", "sympy", "scipy", "cffi", "yaml")
_COMPILER_PACKAGES = "decorator attrs absl-py psutil protobuf sympy scipy cffi pyyaml"
_NUMPY_2_SINCE = (9, 0)  # CANN's images pin numpy below 2 up to 8.x (Ascend/cann-container-image)
# What pip is given: any; not version 2; one that still has np.float, np.int, np.bool.
ANY_NUMPY, NUMPY_1, NUMPY_WITH_ALIASES = "numpy", "'numpy<2'", "'numpy<1.24'"


def numpy_for(version: str) -> str:
    """Return the numpy that this release of CANN takes, as pip is given it; an unknown release gets the older one."""
    return ANY_NUMPY if (release_of(version) or (0, 0)) >= _NUMPY_2_SINCE else NUMPY_1


def compiler_pip(numpy: str) -> str:
    """Return the command that installs what CANN's operator compiler imports."""
    return f"python3 -m pip install {numpy} {_COMPILER_PACKAGES}"


def python_advice(numpy: str) -> str:
    """Return what to do where the Python of CANN's operator compiler is the cause."""
    too_new = {ANY_NUMPY: "", NUMPY_1: ", numpy is version 2", NUMPY_WITH_ALIASES: ", numpy is 1.24 or newer"}[numpy]
    return (
        f"CANN's compiler runs in the python3 of this shell (not in .venv), where packages are missing{too_new}, "
        f"or Python is too new (3.13 fails with CANN 8.1). In that Python: {compiler_pip(numpy)}"
    )


PYTHON = python_advice(numpy_for(UNKNOWN))  # in the table; `explain` puts that of the release in its place
PYTHON_ITSELF = (
    "CANN's compiler found no Python that it can use. It runs `python3 -V`, and opens the libpython3.*.so that "
    "`python3-config --prefix` leads to. Put a supported python3 (3.7.5 to 3.12 by release) with its shared library "
    "(package python3-dev, or a Python built with --enable-shared) first on PATH, or its folder on LD_LIBRARY_PATH."
)
_PARSER = (
    "this CANN has no ONNX parser for an operator: its opset is too new, or the operator is a custom one. "
    "Export again with opset 11 and standard operators only (the export stage does: force=export)."
)
_ENGINE = (
    "no engine of this card runs an operator of the model. Is soc= the card's own, and is the chip's operator package "
    f"(Ascend-cann-kernels-<chip>, from CANN 8.5 on Ascend-cann-<chip>-ops; {CARD_GUIDE}) installed? Was it "
    "precision=fp32 (or --precision_mode must_keep_origin_dtype)? Some cards convolve in float16 only: "
    "use precision=fp16. Otherwise use a newer CANN, or rewrite that operator in the network and export again."
)
_IR = (
    "this CANN does not know an operator type of the model. Is the operator package installed "
    f"({CARD_GUIDE}) and set_env.sh sourced (ASCEND_OPP_PATH)? Export again with opset 11, or use a newer CANN."
)
INNER = (
    "an internal error of CANN, whose cause is often in another line of the log. Is soc= the card's own, the disk and "
    "memory free, and the driver of this CANN's release? Run the atc command again with --log debug to see more."
)
INNER_ON_DEVICE = (
    "an internal error of CANN, whose cause is often in another line. Does the driver fit this CANN's release "
    "(`npu-smi info`), was the .om compiled for this card (force=compile), and is its memory free?"
)
COMPILE = (
    "an operator of the model does not compile for this card. Is soc= the card's own? The message names the "
    "operator; a newer CANN may compile it, and E4xxxx or EC0010 beside it mean that CANN's Python is the cause."
)
_ONNX_MODEL = "the ONNX model is not one that atc takes. Export again: force=export."
FLAG = "a flag has a value that atc does not take; fix the flag that the message names."
_SHAPE = 'write --input_shape "image:8,3,550,550", quoted, with whole numbers above 0.'
_DYNAMIC = (
    "a flag for dynamic shapes (--dynamic_batch_size, --dynamic_image_size, --dynamic_dims, --input_shape_range) does "
    "not fit the others; our models are compiled with a fixed shape: leave it out."
)
_SINGLE_OP = "an error in the file of --singleop, which our models do not need; leave the flag out."
_READABLE = "atc cannot use a file or folder that the message names. Does it exist, is it whole, may this user open it?"
_CAFFE = "atc read the model as one of Caffe. An ONNX model takes --framework 5."
_TENSORFLOW = "atc read the model as one of TensorFlow. An ONNX model takes --framework 5."
_ENVIRONMENT = (
    "an environment variable that the message names is wrong. Open a new shell, source CANN's set_env.sh only, and "
    "run again."
)
_CUSTOM_PASS = (
    "a custom fusion pass, which our models do not need, fails. Remove the custom passes and operators from "
    "ASCEND_OPP_PATH and ASCEND_CUSTOM_OPP_PATH."
)
_INSTALLATION = "a file of CANN is missing or cannot be read. May this user read CANN's folder? Otherwise reinstall it."


def _each(text: str, *codes: str) -> dict[str, str]:
    return dict.fromkeys(codes, text)


# code -> what it means and what to do
ATC_ERRORS = {
    "E10001": FLAG,
    "E10002": f"the form of --input_shape is wrong; {_SHAPE}",
    "E10003": FLAG,
    "E10004": "a flag has an empty value; fill it in, or leave the flag out.",
    "E10005": "a flag takes true or false only; fix the one that the message names.",
    "E10006": "a flag takes 0 or 1 only; fix the one that the message names.",
    "E10007": "--framework is missing or wrong; an ONNX model takes --framework 5.",
    "E10008": _CAFFE,
    "E10010": "--log has a value that atc does not know; use debug, info, warning, error or null.",
    "E10011": "a size in --input_shape is not positive; give the batch size as a whole number above 0.",
    "E10016": "a name in the flags is not in the model, whose input is called image; check --model and --input_shape.",
    "E10017": "--input_shape or --input_fp16_nodes names an operator that is not an input; "
    "our models' input is called image.",
    "E10021": "a path is too long for atc; use a shorter work folder (out=DIR).",
    "E10022": "--output ends in a folder; add the file's name, without .om.",
    "E10034": "an input has AIPP and is also listed in --input_fp16_nodes; leave one of the two flags out.",
    "E10041": (
        "atc cannot read the model. Is the file whole, an ONNX, and readable for this user? Export again: force=export."
    ),
    "E10044": "there is too little disk for atc's tuning (it wants 2 GB); free some, or leave the tuning flags out.",
    "E10049": "--input_shape has another number of sizes than the model's input; our image has four: N,3,550,550.",
    "E10052": "the AIPP file (--insert_op_conf) has a value that atc refuses; fix the field that the message names.",
    "E10054": "a required flag of atc is empty; a value with ; or , may be missing its quotes.",
    "E10055": "this atc does not support a flag; leave the flag out, or use a CANN that supports it.",
    "E10056": "two flags exclude each other, such as --precision_mode and --precision_mode_v2; leave one out.",
    "E10057": "a flag needs another one beside it; add the flag that the message names, or leave both out.",
    "E10058": "a flag is missing or empty; fill in the one that the message names.",
    "E10063": "the system refused a call of atc. Are disk, memory and the limits of this user (ulimit -a) sufficient?",
    "E10410": "a file that a flag names is missing; fix the path, or leave the flag out.",
    "E10501": _IR,
    "E13005": (
        "atc cannot parse a file. If it is the AIPP file (--insert_op_conf): the fields must be those of AIPP's "
        "template, and mean_chn_* whole numbers (fractions go into min_chn_*)."
    ),
    "E13009": "two nodes of the ONNX model have one name; make the names unique, or export again: force=export.",
    "E13023": "the compiled model is too large for an .om; use a smaller batch size or model.",
    "E13024": _ENVIRONMENT,
    "E13025": "inputs and outputs of the model do not fit the flags; check --input_shape and --out_nodes.",
    "E13027": "atc could not reach an address over the network, which our commands do not ask for; see its own text.",
    "E16001": "the ONNX model has no input or no output; export again: force=export.",
    "E16002": _PARSER,
    "E16004": _ONNX_MODEL,
    "E16005": "the ONNX model uses operators of several domains, and this CANN takes the standard one only. "
    "Export again with standard operators (force=export), or use a newer CANN.",
    "E19010": _PARSER,  # E13010 from CANN 8.5 on
    "E13010": _PARSER,
    "E19999": INNER,
    "E20001": COMPILE,
    "E20002": _ENVIRONMENT,
    "E20003": "a configuration file of CANN's fusion has a wrong entry; fix it, or leave --fusion_switch_file out.",
    "E20007": "a fusion of CANN's compiler fails on this model. Use a newer CANN, or switch that fusion off with "
    "--fusion_switch_file.",
    "E21001": _INSTALLATION,
    "E21002": _INSTALLATION,
    "E22001": "the operator compiler ended early. Too little memory? Try TE_PARALLEL_COMPILER=1 "
    "MAX_COMPILE_CORE_NUMBER=1 before the command.",
    "E40000": PYTHON,
    "E40001": PYTHON_ITSELF,
    "E40002": PYTHON_ITSELF,
    "E40003": _INSTALLATION,
    "E40020": PYTHON,
    "E40021": COMPILE,
    "E40024": PYTHON,
    "E80001": _INSTALLATION,
    "E81012": (
        "AIPP (--insert_op_conf) does not fit the network or the card: image size, channels, crop, padding or a value "
        "out of range; fix the field that the message names."
    ),
    "EC0010": PYTHON,
    "EE1001": "the runtime refuses an argument, which the message names. Are soc= and npus= those of the card?",
    "EZ0501": _IR,
    "EZ3002": _ENGINE,
    "EZ3003": _ENGINE,
    "EZ9010": _PARSER,
    "EZ9999": INNER,
    **_each(FLAG, "E10013", "E10014", "E10047", "E10051", "E10059", "E10060", "E10061", "E20101", "E20103", "E40022"),
    **_each(_DYNAMIC, "E10009", "E10012", "E10018", "E10019", "E10020", "E10031", "E10035", "E10036", "E10037"),
    **_each(_DYNAMIC, "E10038", "E10039", "E10040", "E10045", "E10046", "E10048", "E10050"),
    **_each(_SINGLE_OP, "E10023", "E10024", "E10025", "E10026", "E10027", "E10029", "E10030", "E10032"),
    **_each(_CAFFE, "E11001", "E11003", "E11004", "E11005", "E11008", "E11009", "E11012", "E11014", "E11015", "E11016"),
    **_each(_CAFFE, "E11018", "E11021", "E11022", "E11023", "E11024", "E11027", "E11029", "E11032", "E11033"),
    **_each(_CAFFE, "E11035", "E11036", "E11037"),
    "E11017": "--out_nodes names a node that the model does not have; fix the name, or leave the flag out.",
    **_each(_TENSORFLOW, "E12004", "E12009", "E12013", "E12029"),
    **_each(_READABLE, "E13000", "E13001", "E13002", "E13003", "E13004", "E13006", "E13015", "E13018", "E13026"),
    **_each(_READABLE, "E40023"),
    **_each(_CUSTOM_PASS, "E13028", "E13029", "E13030"),
    **_each("an operator of the model has an attribute or shape that this CANN refuses. Export again: force=export.",
            "E13014", "E14001", "E14002"),
    **_each(COMPILE, "EA0000", "E90000", "E90001", "E90002", "E90003", "EB0000", "EB0500", "EB1000", "EB3000"),
    **_each(COMPILE, "EB4000", "EB9000"),
    **_each("an operator got an input or attribute that its kernel refuses. Was the model exported with opset 11 and "
            "compiled for this card?", *(f"EZ000{n}" for n in range(1, 8))),
}  # fmt: skip

_MEMORY = (
    "the device has too little free memory for this model. See `npu-smi info` for what uses it, end other programs on "
    "that card, or use a smaller batch size (bs=1)."
)
_HOST_MEMORY = "the host has too little free memory or threads. End other programs, or use a smaller batch size."
_DEVICE = (
    "the device cannot be opened. Does `npu-smi info` list it as OK, is it the number that npus= (or --npu) names, "
    "counted within ASCEND_RT_VISIBLE_DEVICES, and does the driver fit this CANN's release? In a container the card, "
    "its driver and /dev/davinci_manager must be passed in, and no other container may hold it."
)
_BUSY = "the device, or its streams, events or models, are used up by other programs. End them (see `npu-smi info`)."
_PERMISSION = (
    "this user may not use the device. Add it to the driver's group (`usermod -aG HwHiAiUser USER`), then log in again."
)
_VERSIONS = (
    "driver, CANN, ais_bench or aclruntime do not fit together. Compare the driver (`npu-smi info`) with the one that "
    "this CANN asks for, and install an aclruntime that was built for this CANN."
)
_MODEL_FILE = (
    "the card does not take this .om. Was it compiled for this card (soc=), with a CANN that is not newer than the one "
    "here, and is the file whole? Compile again: force=compile."
)
_MODEL_FAILED = (
    "the model failed while the device computed it. An earlier line may name the operator. Does the same .om run with "
    "zeros (mode=perf), and a newly compiled one (force=compile)? Otherwise driver and CANN may not fit together."
)
_HARDWARE = "the device reports a fault of its hardware or memory. See `npu-smi info -t health -i 0`; reset or restart."
_TIMEOUT = "the device did not answer in time. Is it shared, overheated or faulty (`npu-smi info`)? Run again."
_INPUT = "an input's size, type or AIPP does not fit the .om. Was it compiled with other AIPP or batch settings?"
_CALL = f"a call to the runtime was refused; mostly {_VERSIONS}"

VAGUE = "EL0003"  # comes with many causes, which a number beside it tells apart
# The same of the card's runtime (ais_bench, InferSession).
RUNTIME_ERRORS = {
    "EE1002": _TIMEOUT,
    "EE1009": _MODEL_FAILED,
    "EE1014": _MODEL_FILE,
    "EE1015": _VERSIONS,
    "EE1019": _BUSY,
    "EE1023": _BUSY,
    "EE2002": _ENVIRONMENT,
    "EH0003": _READABLE.replace("atc", "the runtime"),
    "EH0004": _READABLE.replace("atc", "the runtime"),
    "EH0005": _INPUT,
    "EL0001": _DEVICE,
    "EL0002": _DEVICE,
    VAGUE: (
        "the driver refuses an argument. While a device is opened, that mostly means that driver, firmware and CANN do "
        "not fit together, or that the card is faulty: compare their releases, and see `npu-smi info`."
    ),
    "EL0004": _MEMORY,
    "EL0005": _BUSY,
    "EL0007": _PERMISSION,
    "EL0014": _VERSIONS,
    "EL0015": _DEVICE,
    "EZ2001": _HARDWARE,
    **_each(_HOST_MEMORY, "EE1013", "EE1021", "EH0010"),
    **_each(_BUSY, "EL0006", "EL0008", "EL0009", "EL0010", "EL0011", "EL0012", "EL0013"),
    **_each(_CALL, "EE1003", "EE1004", "EE1005", "EE1006", "EE1007", "EE1010", "EE1011", "EE1012", "EE1016", "EE1017"),
    **_each(_CALL, "EE1018", "EE1020", "EE1022", "EE4001", "EE4002", "EE4004", "EH0001", "EH0002", "EH0006", "EH0007"),
    **_each(_CALL, "EH0008", "EH0009", "EH0011", "EH0012", "EH0013", "EH0014", "EZ1001", "EZ9903", "E10062"),
    **_each(_CALL, "E10401", "E10402", "E10403", "E10404", "E10405", "E10406", "E13031"),
}

# aclError: the numbers that calls of the runtime return.
ACL_NUMBERS = {
    **_each(_MODEL_FILE, "100003", "100005", "100006", "100012", "100013", "100014", "100015", "100016", "107009"),
    **_each(_MODEL_FILE, "145002", "145006", "145019", "507008", "507009", "507027", "545001", "545002", "545003"),
    **_each(_MODEL_FILE, "545004", "545005", "148049"),
    **_each(_INPUT, "100017", "100018", "145011", "145012", "145013", "145014", "145015", "145016", "145021", "145022"),
    **_each(_CALL, "100000", "100001", "107000", "107003", "107004", "107005", "107017", "145000", "200001", "200006"),
    **_each(_CALL, "207000", "207019", "545000"),
    "107002": "no device is open in this thread: opening it failed before, or aclruntime and CANN do not fit together.",
    **_each(_DEVICE, "107001", "200002", "207004", "507033", "507040"),
    **_each(_MEMORY, "207001", "207018", "245000", "300000"),
    **_each(_HOST_MEMORY, "200000"),
    **_each(_BUSY, "207005", "207007", "207008", "207009", "207010", "207011", "207012", "507002"),
    **_each(_PERMISSION, "207006"),
    **_each(_TIMEOUT, "107019", "107020", "207020", "507012", "507014", "507017", "507034", "507046", "507047"),
    **_each(_TIMEOUT, "507048", "545601"),
    **_each(_MODEL_FAILED, "207003", "207016", "207017", "507000", "507001", "507011", "507015", "507016", "507018"),
    **_each(_MODEL_FAILED, "507020", "507035", "507036", "507042", "507043", "507044", "507045", "507049", "507050"),
    **_each(_HARDWARE, "507010", "507013", "507053", "507054", "507055", "507056"),
    **_each(INNER_ON_DEVICE, "500000", "500001", "500002", "500003", "500004"),
    **_each(_VERSIONS, "507051", "507052", "507899", "507900", "507901", "507902"),
}  # fmt: skip

_SOC_VERSION = (
    "the soc_version is not one that this CANN knows. See the Name column of `npu-smi info` and give "
    "soc=Ascend<Name>, such as soc=Ascend310P3 (abbreviations like Ascend310P are not accepted). "
    f"From CANN 8.5 on, the chip's ops package must also be installed ({CARD_GUIDE})."
)
_VISIBLE = (
    "CANN takes ascending numbers only in ASCEND_RT_VISIBLE_DEVICES, such as 0,1. Change the list, or unset it to use "
    "all devices."
)
_NO_QDQ = (
    "atc reads no QuantizeLinear and DequantizeLinear. Compile the *_int8_ascend.onnx that `quantize` wrote beside "
    "this file; a file of another quantizer must first pass AMCT's convert_qat_model."
)
# Where one code means several things: the first of these (code, pattern of its message, advice) that fits counts.
BY_MESSAGE = (
    *((code, r"QuantizeLinear|DequantizeLinear", _NO_QDQ) for code in ("E19010", "E13010")),
    ("EE1001", r"(?i)soc.?version", _SOC_VERSION),
    ("E10001", r"--soc_version\b", _SOC_VERSION),
    ("EE1001", r"ASCEND_RT_VISIBLE_DEVICES", _VISIBLE),
    ("EE1001", r"(?i)device id", _DEVICE),
    (
        "E10001",
        r"Value \[?-1\]? for parameter \[?\w+\]? ",
        "an input's batch is free and needs --input_shape \"image:N,3,550,550\", with the config's size for 550.",
    ),
)
