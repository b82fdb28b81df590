"""What the failures of atc, ais_bench and the card's runtime are explained as."""

import ast
import re

import pytest
from factories import CHECKOUT

from yolact_ascend.targets.ascend.errors import ACL_NUMBERS, ATC_ERRORS, RUNTIME_ERRORS
from yolact_ascend.targets.ascend.explain import explain_atc_failure, explain_device_failure, explain_import_failure

# code -> a message of atc, and the words of the remedy that a user needs
MESSAGES = {
    "E10001": ("Value [-1] for parameter [image] is invalid. Reason: maybe you should set input_shape", "image:N,3,"),
    "E10002": ("Value [image] for parameter [--input_shape] is invalid. Reason: size not equal to 2", "image:8,3,"),
    "E10003": ("Value [Conv_0] for parameter [--out_nodes] is invalid. Reason: Output index", "--out_nodes=Conv_0;"),
    "E10004": ("Value for [--output] is empty.", "leave the flag out"),
    "E10006": ("Value [2] for parameter [--sparsity] is invalid. The value must be either 1 or 0.", "0 or 1"),
    "E10007": ("[--framework] is required. The value must be [0(Caffe) or 5(ONNX)].", "--framework 5"),
    "E10010": ("Value [loud] for parameter [--log] is invalid.", "debug, info"),
    "E10011": ("Value [image:0,3] for parameter [--input_shape] is invalid.", "above 0"),
    "E10016": ("Opname [x] specified in [--input_shape] is not found in the model", "called image"),
    "E10017": ("Input Op [Conv_0] specified in [--input_fp16_nodes] is invalid.", "called image"),
    "E10022": ("Path [out/] for parameter [--output] does not include the file name.", "file's name"),
    "E10034": ("Nodes (for example, [image]) connected to AIPP must not be of type FP16.", "--input_fp16_nodes"),
    "E10041": ("Failed to load the model from [a.onnx].", "force=export"),
    "E10044": ("disk space is less than 2GB", "2 GB"),
    "E10049": ("Dimension count [3] configured in --input_shape does not match [4]", "N,3,550,550"),
    "E10052": ("AIPP configuration is invalid", "--insert_op_conf"),
    "E10054": ("The required parameter [--model] for ATC is empty.", "quotes"),
    "E10055": ("The operation is not supported.", "leave the flag out"),
    "E10056": ("Cannot configure both parameters [--precision_mode] and [--precision_mode_v2]", "leave one out"),
    "E10501": ("IR for Op [x] is not registered.", "opset 11"),
    "E13009": ("Operator add already exists in the graph.", "force=export"),
    "E13010": ("No operator plugin is registered for Op: conv1, optype: ai.onnx::22::Conv.", "opset 11"),
    "E13005": ("Failed to parse file [aipp.cfg].", "min_chn_*"),
    "E16002": ("Op type is not supported by the parser.", "opset 11"),
    "E16001": ("The model has no input node.", "no input or no output"),
    "E16005": ("The model has 2 --domain_version fields, but only one is allowed.", "several domains"),
    "E19010": ("No parser is registered for Op [grid_sampler_3140, optype [x]].", "opset 11"),
    "E19999": ("Inner Error!", "--log debug"),
    "E20001": ("Failed to compile Op [x]. (optype: [StridedSliceD])", "soc= the card's own"),
    "E20002": ("Value /x for environment variable ASCEND_OPP_PATH is invalid.", "source CANN's set_env.sh"),
    "E40001": ("Value /x for environment variable PATH is invalid when executing the cmd python3 -V", "python3-config"),
    "E40002": ("Unsupported Python version: Python 2.7.18. Expected: Python 3.7.5 or later.", "python3-config"),
    "E40021": ("Failed to compile Op x. oppath is /y and optype is z.", "soc= the card's own"),
    "E40000": (
        "Failed to import Python module [ModuleNotFoundError: No module named 'decorator']",
        "pip install 'numpy<",
    ),
    "E81012": ("Compile op[aipp] failed, cause: input h[4] of network", "--insert_op_conf"),
    "EC0010": (
        "Failed to import Python module [AttributeError: `np.float_` was removed in the]",
        "pip install 'numpy<",
    ),
    "EE1001": ("The argument is invalid.Reason: Soc version [Ascend310P] is invalid", "soc=Ascend310P3"),
    "EZ0501": ("IR for Op [x] is not registered.", "opset 11"),
    "EZ3002": ("Optype [x] of Ops kernel is unsupported.", "newer CANN"),
    "EZ3003": ("No supported Ops kernel and engine are found for [x]", "newer CANN"),
    "EZ9010": ("No parser is registered for Op [x]", "opset 11"),
    "EZ9999": ("Inner Error!", "--log debug"),
}
# How one message looks, by release; the last two as a program repeats it. Sources: users' captures of CANN 6 to 8;
# Ascend/runtime, src/dfx/error_manager/error_manager.cc (August 2026), for CANN 8.5 and later.
LAYOUTS = {
    "until CANN 7": "ATC start working now\nATC run failed, Please check the detail log\n{code}: {text}\n",
    "CANN 8.0": "...\nATC run failed\n{code}: [PID: 200452] 2025-06-16-13:02:36.801.136 {text}\n        Solution: x.\n",
    "CANN 8.5": "...\nATC run failed\n[PID: 4711] 2026-08-01-10:00:00.000.000 Some_Title({code}): {text}\n"
    "        Possible Cause: y.\nTraceBack (most recent call last):\n        ATC model parse ret fail.\n",
    "ais_bench": "[INFO] acl init success\n[ACL ERROR] {code}: [PID: 106] 2025-10-30-08:21:08.817.477 {text}\n",
    "ais_bench, CANN 8.5": "[ACL ERROR] [PID: 7] 2026-08-01-10:00:00.000.000 A_Title({code}): {text}\n",
}
# The pages of Ascend/ge docs/en/user_guides/error_codes and of Ascend/runtime docs/en/error_code_ref (August 2026; of
# the latter those of compiler and runtime), by the part that codes have in common.
PUBLISHED = """
E100: 01 02 03 04 05 06 07 08 09 10 11 12 13 14 16 17 18 19 20 21 22 23 24 25 26 27 29 30 31 32 34 35 36 37 38 39 40 41
E100: 45 46 47 48 49 50 51 52 54 55 56 57 58 59 60 61 62 63
E104: 01 02 03 04 05 06 10
E105: 01
E110: 01 03 04 05 08 09 12 14 15 16 17 18 21 22 23 24 27 29 32 33 35 36 37
E120: 04 09 13 29
E130: 00 01 02 03 04 05 06 09 10 14 15 18 23 24 25 26 27 28 29 30 31
E140: 01 02
E160: 01 02 04 05
E199: 99
E200: 01 02 03 07
E201: 01 03
E210: 01 02
E220: 01
E400: 01 02 03 20 21 22 23 24
EE10: 01 02 03 04 05 06 07 09 10 11 12 13 14 15 16 17 18 19 20 21 22 23
EE20: 02
EE40: 01 02 04
EH00: 01 02 03 04 05 06 07 08 09 10 11 12 13 14
EL00: 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15
EZ20: 01
"""
EXPLAINED = {**ATC_ERRORS, **RUNTIME_ERRORS}


def published():
    for line in PUBLISHED.split("\n")[1:-1]:
        start, ends = line.split(": ")
        yield from (start + end for end in ends.split())


def test_every_published_code_is_explained():
    assert len(set(published())) == 192
    assert set(published()) <= set(EXPLAINED) and not set(ATC_ERRORS) & set(RUNTIME_ERRORS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_code_is_found_in_every_form(layout):
    """Its code, an advice that is a sentence, and the message in its own words."""
    for code in EXPLAINED:
        output = LAYOUTS[layout].format(code=code, text="Value 7 of something.")
        for explain in (explain_atc_failure, explain_device_failure):
            explanation = explain(output, 1)
            assert explanation.startswith(f"{code}: ") and explanation.endswith('(Its words: "Value 7 of something.")')
            assert "\n" not in explanation and len(explanation) > 80


@pytest.mark.parametrize("layout", list(LAYOUTS)[:3])
@pytest.mark.parametrize("code", MESSAGES)
def test_an_explanation_holds_the_remedy(code, layout):
    text, remedy = MESSAGES[code]
    explanation = explain_atc_failure(LAYOUTS[layout].format(code=code, text=text), 255)
    assert explanation.startswith(f"{code}: ") and remedy in explanation.split("(Its words")[0]


# "Value %s for parameter %s is invalid": Ascend/ge, E10001, E10003, E10014; brackets and "--" by release.
@pytest.mark.parametrize(
    ("code", "text", "advice"),
    [
        ("E10001", "Value [NHWC] for parameter [--input_format] is invalid. Reason: x", "--input_format=NHWC; fix"),
        (
            "E10001",
            "Value FORMAT_ALL for parameter --input_format is invalid. Reason: x",
            "--input_format=FORMAT_ALL; f",
        ),
        ("E10001", "Value 2 for parameter ge.exec.enableDump is invalid. Reason: x", "ge.exec.enableDump=2; fix"),
        (
            "E10003",
            "Value 1.1,2 for parameter --dynamic_batch_size is invalid. Reason: x",
            "--dynamic_batch_size=1.1,2;",
        ),
        ("E10001", "something else", "the flag that the message names"),
        # A run's user passes soc=, not the flag.
        ("E10001", "Value [Ascend310X] for parameter [--soc_version] is invalid. Reason: x", "give soc=Ascend<Name>"),
    ],
)
def test_the_flag_that_a_message_names_is_named(code, text, advice):
    assert advice in explain_atc_failure(LAYOUTS["CANN 8.5"].format(code=code, text=text), 255).split("(Its words")[0]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("", None),
        ("Failed to open image E10001.jpg", None),
        ("EA9876: something new\n", "EA9876: it is not among the errors that are explained here"),
        ("[PID: 7] 2026-08-01-10:00:00.000.000 New(E99998): something\n", "E99998: it is not among"),
        ("EZ9999: Inner Error!\nEZ9999  [Build][FUNC:x]\nE20001: Failed to compile Op [x].", "E20001: an operator"),
        ("EZ9999: Inner Error!\nEA9876: something new\n", "EA9876: it is not among"),
        ("EA9876: something new\nE19010: No parser\nEE1001: The argument is invalid", "E19010: "),
        (
            "EZ9999: Internal error!\nEZ9999[PID: 7] 2026-08-03-20:55:35.272.841 A(EZ9999):  The error from x.\n",
            'EZ9999: an internal error .*Its words: "The error from x."',
        ),
        (
            "ModuleNotFoundError\nEZ9999: Inner Error! TypeError: cannot pickle 'FrameLocalsProxy' object",
            r"CANN's compiler runs in the python3 of this shell .*3\.13 fails",  # the type is Python 3.13's (PEP 667)
        ),
        # What atc's Python prints when it cannot import: no code comes with it.
        ("ModuleNotFoundError: No module named 'decorator'\n", r"CANN's compiler runs .*\(missing: decorator\)"),
        ("No module named 'tbe.common'\n", "CANN's own Python package tbe.common was not found. Source"),
        ("AttributeError: `np.float_` was removed in the NumPy 2.0 release.", "CANN's compiler runs in the python3 of"),
        ("AttributeError: module 'numpy' has no attribute 'float'", "CANN's compiler runs in the python3 of"),
        (
            "E40021: Failed to compile Op x.\nModuleNotFoundError: No module named 'sympy'",
            "E40021: CANN's compiler runs",
        ),
        (
            "E40020: Failed to import Python module tbe. Reason: No module named 'tbe'.",
            "E40020: CANN's own Python pack",
        ),
        # hiascend, CANN 9.1, atlasamct_16_0153: a QDQ model must pass AMCT's convert_qat_model before atc.
        (
            "E19010: No parser is registered for Op [q, optype [ai.onnx::13::QuantizeLinear]].",
            r"E19010: atc reads no QuantizeLinear and DequantizeLinear. Compile the \*_int8_ascend.onnx",
        ),
        # gpustack#2527
        (
            "EE1001: The argument is invalid.Reason: set ASCEND_RT_VISIBLE_DEVICES:0,2,4,6,1,3,5,7 error, it must be "
            "configured in ascending order",
            "EE1001: CANN takes ascending numbers only",
        ),
        # Ascend/runtime: EE1001 serves a wrong soc_version and a wrong device.
        (
            "EE1001: The argument is invalid.Reason: Invalid device ID 8. Set drv devId to 8.",
            "EE1001: the device cannot",
        ),
    ],
)
def test_what_has_no_code_or_several(output, expected):
    explanation = explain_atc_failure(output, 255)
    assert explanation is None if expected is None else re.match(expected, explanation)


@pytest.mark.parametrize(
    ("version", "output", "numpy"),
    [
        ("8.5.0", "E40000: Failed to import Python module x", "'numpy<2' "),
        ("9.1.0", "E40000: Failed to import Python module x", "numpy "),
        ("9.1.0", "ModuleNotFoundError: No module named 'decorator'", "numpy "),
        ("9.1.0", "AttributeError: `np.float_` was removed in the NumPy 2.0 release.", "'numpy<2' "),
        # NumPy 1.24 removed the aliases of Python's types (its release notes).
        ("5.1.RC2", "AttributeError: module 'numpy' has no attribute 'float'.", "'numpy<1.24' "),
        ("unknown", "AttributeError: module 'numpy' has no attribute 'in1d'", "'numpy<2' "),
    ],
)
def test_the_numpy_of_the_advice_is_what_the_release_takes(version, output, numpy):
    """As doctor has it (test_host_needs.py), unless the output shows that the numpy which is there does not do."""
    explanation = explain_atc_failure(output, 255, version)
    assert f"pip install {numpy}decorator" in explanation
    assert ("numpy is" in explanation) == (numpy != "numpy ")


@pytest.mark.parametrize(
    ("code", "output", "expected"),
    [
        # A bash that starts atc.bin reports its end as 128 + signal (atc: 137, 139); Python as -signal.
        (
            137,
            "atc: line 22:  6100 Killed                  atc.bin",
            "memory .*TE_PARALLEL_COMPILER=1 MAX_COMPILE_CORE_",
        ),
        (-9, "", "memory .*TE_PARALLEL_COMPILER=1"),
        (139, "Segmentation fault (core dumped)", r"atc crashed \(SIGSEGV\).* It named no operator\. .*--log debug"),
        # NonMaxSuppression with three inputs ends so: ultralytics#25436.
        (-11, "Parse op[Conv_0]\nParse op[NonMaxSuppression_7]\n", "last is NonMaxSuppression_7"),
        (134, "", r"atc crashed \(SIGABRT\)"),
        (134, "terminate called after throwing an instance of 'std::bad_alloc'", "memory .*TE_PARALLEL_COMPILER=1"),
    ],
)
def test_an_atc_that_a_signal_ended(code, output, expected):
    assert re.search(expected, explain_atc_failure(output, code))


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        # ais_bench's words for a full device: the runtime's message, then its own, then Python's traceback.
        (
            "[ACL ERROR] EL0004: [PID: 106] 2025-10-30-08:21:08.817.477 Failed to allocate memory.\n"
            "        rtMalloc execute failed, reason=[driver error:out of memory]\n[ERROR] load model from file failed"
            "\n[WARN] Check failed:processModel->LoadModelFromFile(modelPath), ret:207001\nTraceback (most recent call "
            "last):\n"
            "RuntimeError: [1][ACL: invalid parameter] ",
            'EL0004: the device has too little free memory .*bs=1.*Its words: "Failed to allocate memory."',
        ),
        (
            "[ACL ERROR] EZ9999: supported socVersion=Ascend910B3, but the model socVersion=Ascend910B",
            "The model was compiled for Ascend910B, and this card is Ascend910B3. Compile it again: soc=",
        ),
        # PTOAS#341 and ais_bench's FAQ 4: a device that cannot be opened.
        ("open device 2 failed, runtime result = 507033.", "Error 507033: the device cannot be opened"),
        ("[ERROR] acl open device 0 failed\nSetDevice failed.ret=507033\n", "Error 507033: "),
        ("RuntimeError: [507033][Error code unknown] ", "Error 507033: "),
        # Ascend/samples#22, vllm-ascend#2105, #2349: while the model runs.
        ("[ERROR]  Execute model(m.om) error:507011", "Error 507011: the model failed while the device computed"),
        ("NPU warning, error code is 507018[Error]: ", "Error 507018: the model failed"),
        (
            "EZ9999: Inner Error!\nEZ9999: [PID: 1] 2025-01-01-00:00:00.000.000 aicore. error code:507015",
            "Error 507015: ",
        ),
        # vllm-ascend#8818: EL0003 beside a model's failure; ais_bench's FAQ 4: while a device is opened.
        ("Invalid_Argument(EL0003): The argument is invalid.\nerror code is 507011", "Error 507011: the model failed"),
        ("EL0003: The argument is invalid.\n       Failed to open device", "EL0003: the driver refuses .*firmware"),
        ("EH9999: Inner Error!\n        rtDeviceSynchronize failed\n", "EH9999: an internal error .*driver"),
        ("ret:207001", "Error 207001: the device has too little free memory"),
        ("failed, runtime result = 107002", "Error 107002: no device is open"),
        ("aclmdlLoadFromFile failed, errorCode is 500002", "Error 500002: an internal error"),
        ("failed, ret = 507903", "Error 507903 is not among"),
        ("EX0001: new words", "EX0001: it is not among"),
        ("[PID: 507011] all is well; image 207001.jpg", None),
        ("ImportError: libascendcl.so: cannot open shared object file: No such file", "libascendcl.so belongs to CANN"),
    ],
)
def test_what_the_device_says(output, expected):
    explanation = explain_device_failure(output, 1)
    assert explanation is None if expected is None else re.match(expected, explanation)


def test_an_ais_bench_that_a_signal_ended():
    for refused in ("[ERROR] path contains illegal char, legal chars include", "path:ä contains illegal char"):
        assert "only letters, digits and _ . - / in paths. Move the model" in str(explain_device_failure(refused, 1))
    assert "host's memory ran out" in explain_device_failure("", 137)
    assert "It crashed in CANN" in explain_device_failure("", -11)
    assert explain_device_failure("", 1) is None and explain_device_failure("") is None


def test_every_number_of_the_runtime_has_a_remedy():
    """The numbers that public reports name (Ascend/runtime, rt_error_codes.h)."""
    named = "107001 107002 207001 207004 207018 507008 507010 507011 507014 507015 507018 507033 507034 507035"
    assert {*named.split(), "507046", "507899"} <= set(ACL_NUMBERS)
    for number, text in ACL_NUMBERS.items():
        assert explain_device_failure(f"failed, ret={number}", 1) == f"Error {number}: {text}"


LOADING = "atc.bin: error while loading shared libraries: {}: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (LOADING.format("libascend_hal.so"), "libascend_hal.so belongs to the driver"),
        (LOADING.format("libge_compiler.so"), "belongs to CANN, whose set_env.sh was sourced.*reinstall its toolkit"),
        (LOADING.format("libpython3.9.so.1.0"), "libpython3.9.so.1.0 is missing: .*python3-dev"),
        (
            "atc.bin: /lib64/libm.so.6: version `GLIBC_2.34' not found (required by atc.bin)",
            "a newer system .GLIBC_2.34",
        ),
        ("/x/bin/atc.bin: cannot execute binary file: Exec format error", "another architecture.*uname -m"),
        ("something else", None),
    ],
)
def test_an_atc_that_does_not_start(output, expected):
    """The words of Linux's loader and of bash."""
    explanation = explain_atc_failure(output, 127)
    assert explanation is None if expected is None else re.search(expected, explanation)


def test_a_library_of_cann_is_not_to_be_sourced_twice():
    """A run sources set_env.sh itself; what is still missing then is not installed."""
    text = "ImportError: libascendcl.so: cannot open shared object file: No such file or directory"
    found = explain_import_failure(text, is_sourced=True)
    assert "was sourced, but" in found and "reinstall its toolkit or nnrt" in found
    system = "ImportError: libgomp.so.1: cannot open shared object file: No such file or directory"
    assert explain_import_failure(system) == (
        "libgomp.so.1 belongs to the system. Install the system's package that has it."
    )


# The import errors that users report, by cause.
@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            "ImportError: libascendcl.so: cannot open shared object file: No such file or directory",
            "set_env.sh was not",
        ),
        (
            "ImportError: libascend_hal.so: cannot open shared object file: No such file",
            "driver/lib64, and common and d",
        ),
        ("ImportError: libpython3.8.so.1.0: cannot open shared object file", "built for another Python"),
        (
            "ImportError: /x/aclruntime.so: undefined symbol: aclmdlSetDatasetTensorDesc",
            "built for another release of CANN",
        ),
        (
            "ImportError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by /x)",
            "GLIBCXX_3.4.30 is missing",
        ),
        ("ImportError: GLIBC_2.34 not found", "built on a newer system"),
        ("ImportError: /x/aclruntime.so: wrong ELF class: ELFCLASS64", "uname -m"),
        (
            "ModuleNotFoundError: No module named 'numpy'",
            "package numpy is missing. In that Python: python3 -m pip inst",
        ),
        ("ImportError: numpy.core.multiarray failed to import", "pip install 'numpy<2'"),
        ("A module that was compiled using NumPy 1.x cannot be run in NumPy 2.0.0", "pip install 'numpy<2'"),
        ("ModuleNotFoundError: No module named 'aclruntime'", "its runtime aclruntime is not"),
        ("ModuleNotFoundError: No module named 'typer'", "pip install typer"),
        # ais_bench of 2024 (Ascend/msit @6394cfe1d^), run without pkg_resources; setuptools 82: pypa/setuptools#5007.
        (
            "UnboundLocalError: cannot access local variable 'aclruntime_version' where it is not associated with a "
            "value",
            "pip install 'setuptools<82'",
        ),
        ("ImportError: cannot import name 'PURE_INFER_DATA' from 'aclruntime' (/x)", "of different years"),
        ("ModuleNotFoundError: No module named 'ais_bench'", None),
        ("SyntaxError: invalid syntax", None),
    ],
)
def test_a_failed_import_has_its_own_remedy(error, remedy):
    found = explain_import_failure(f"Traceback (most recent call last):\n  File x\n{error}\n")
    assert found is None if remedy is None else remedy in found


def test_every_code_of_the_stand_in_is_explained():
    tree = ast.parse((CHECKOUT / "emulation" / "ascend_emulation" / "atc_errors.py").read_text())
    (texts,) = (node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "_TEXTS")
    assert {key.value for key in texts.keys} <= set(ATC_ERRORS)
